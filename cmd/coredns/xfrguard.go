// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import _ "github.com/xfrguard/xfrguard" // registers the directive
