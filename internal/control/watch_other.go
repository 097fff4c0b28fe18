// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package control

// watch tells of nothing: looks from time to time do.
type watch struct{}

func (*watch) follow(string) {}

func (*watch) told() <-chan struct{} { return nil }

func (*watch) close() {}
