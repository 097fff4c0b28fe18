// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"strings"

	"github.com/xfrguard/xfrguard/internal/plainfile"

	"golang.org/x/mod/sumdb/note"
)

// maxKeyFile is the most that is read of a key file, in bytes; a key has about 100.
const maxKeyFile = 4096

// privatePrefix begins every signer key, see [note.NewSigner].
const privatePrefix = "PRIVATE+KEY+"

// GenerateKey writes a new Ed25519 signer key, in the text form of [note.NewSigner], to
// a file that must not exist yet, with mode 0600. It returns the verifier key, which is
// public. The name stands in every signature; it has no space and no plus.
func GenerateKey(path, name string) (verifier string, err error) {
	if name == "" || strings.ContainsAny(name, "+ \t\r\n") {
		return "", fmt.Errorf("key name %q: give one without spaces and plus signs", name)
	}
	signer, verifier, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", fmt.Errorf("generate key: %w", err)
	}
	if _, err := note.NewSigner(signer); err != nil {
		return "", fmt.Errorf("key name %q: %w", name, err)
	}
	if err := plainfile.WriteNew(path, []byte(signer+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write key: %w", err)
	}
	return verifier, nil
}

// ReadKey reads a signer key from a file that others than its owner and group cannot
// read. Errors hold nothing of what is in the file.
func ReadKey(path string) (note.Signer, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, fmt.Errorf("key file %s holds no private key: make one with xfrguard audit-key", path)
	}
	return signer, nil
}

// VerifierKey returns the public part of the signer key in a file.
func VerifierKey(path string) (string, error) {
	signer, err := ReadKey(path)
	if err != nil {
		return "", err
	}
	text, err := readPrivate(path)
	if err != nil {
		return "", err
	}
	// The prefix, the name (without a plus), a hash, and the data, which may have plus
	// signs.
	fields := strings.SplitN(strings.TrimPrefix(text, privatePrefix), "+", 3)
	data, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(data) != 1+ed25519.SeedSize {
		return "", fmt.Errorf("key file %s holds no Ed25519 key", path)
	}
	public := ed25519.NewKeyFromSeed(data[1:]).Public().(ed25519.PublicKey) //nolint:forcetypeassert // by its definition
	return note.NewEd25519VerifierKey(signer.Name(), public)
}

func readPrivate(path string) (string, error) {
	text, mode, err := readKeyFile(path)
	if err != nil {
		return "", err
	}
	if mode.Perm()&0o007 != 0 {
		return "", fmt.Errorf("key file %s is open to everybody (%s): chmod 0600 it", path, mode.Perm())
	}
	return strings.TrimSpace(text), nil
}

// ReadVerifiers reads verifier keys from a file, one a line; empty lines and lines that
// begin with # are skipped.
func ReadVerifiers(path string) ([]note.Verifier, error) {
	text, _, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	var all []note.Verifier
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, privatePrefix):
			return nil, fmt.Errorf("%s:%d: this is the private key: give the verifier key (xfrguard audit-key --show FILE prints it)", path, i+1)
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: not a verifier key", path, i+1)
		}
		all = append(all, v)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no verifier key in it", path)
	}
	return all, nil
}

func readKeyFile(path string) (string, fs.FileMode, error) {
	text, mode, err := plainfile.Read(path, maxKeyFile)
	if err != nil {
		return "", 0, fmt.Errorf("key file: %w", err)
	}
	return string(text), mode, nil
}
