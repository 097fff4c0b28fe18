// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// Notifier is an address of the primary from which it sends NOTIFY in tests of signed
// ones: not the address that zones are pulled from, whose NOTIFY named takes
// unsigned whatever allow-notify says.
const Notifier = "127.0.0.2"

// StartNotified runs software as StartSecondary does, but it takes NOTIFY from Notifier
// only, and only when it is signed with the key of the zone; over TLS too at tlsPort
// where the software can, 0 for none.
func StartNotified(t testing.TB, software Software, port, tlsPort, primary int, zones []Zone) *Secondary {
	t.Helper()
	c := config{Dir: t.TempDir(), Port: port, Primary: primary, Zones: zones, SignedNotify: true, TLSPort: tlsPort}
	if tlsPort != 0 {
		writeCertificate(t, c)
	}
	argv := software.configure(t, c)
	argv[0] = Binary(t, argv[0])
	return &Secondary{Process: Run(t, software.Name, c.Dir, argv...), software: software, config: c}
}

// writeCertificate writes a self-signed certificate and its key to server.pem and
// server.key.
func writeCertificate(t testing.TB, c config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "secondary.test"}, DNSNames: []string{"secondary.test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	WriteFile(t, c.path("server.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	WriteFile(t, c.path("server.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// notifyNamed is what named needs for signed NOTIFY, and to listen with TLS. Where two
// keys are allowed either opens every zone, so each zone has its own list.
func notifyNamed(c config) (global string, zone func(Zone) string) {
	if c.TLSPort != 0 {
		global = fmt.Sprintf("tls own { cert-file \"%[1]s/server.pem\"; key-file \"%[1]s/server.key\"; };\n", c.Dir)
	}
	return global, func(z Zone) string {
		if !c.SignedNotify {
			return ""
		}
		return fmt.Sprintf("allow-notify { key %q; }; ", z.Key.Short())
	}
}

// notifyNSD is what nsd needs: whom a zone takes NOTIFY from.
func notifyNSD(c config, z Zone) string {
	if !c.SignedNotify {
		return c.primary() + " NOKEY"
	}
	return Notifier + " " + z.Key.Short()
}

// notifyKnot is what knotd needs: an acl for each key, and its name for a zone.
func notifyKnot(c config) (acls string, zone func(Zone) string) {
	if !c.SignedNotify {
		return "", func(Zone) string { return "[loopback, primary]" }
	}
	var b strings.Builder
	for _, k := range c.keys() {
		fmt.Fprintf(&b, "  - id: notify-%[1]s\n    address: %[2]s\n    key: %[1]s\n    action: notify\n", k.Short(), Notifier)
	}
	return b.String(), func(z Zone) string { return fmt.Sprintf("[loopback, primary, notify-%s]", z.Key.Short()) }
}

// notifyPDNS is what pdns_server needs.
func notifyPDNS(c config) string {
	if !c.SignedNotify {
		return ""
	}
	return "allow-unsigned-notify=no\ntrusted-notification-proxy=" + Notifier + "\n"
}
