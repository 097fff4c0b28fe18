// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/xfrguard/xfrguard/internal/audit/audittest"
	"github.com/xfrguard/xfrguard/internal/xfrtest"
)

// insideNetwork marks the process that has a network of its own.
const insideNetwork = "XFRGUARD_TEST_NETWORK"

// ownNetwork runs the test again in a process with a network of its own, whose loopback
// has the addresses, and reports whether this is that process. It takes no privileges
// where users may make namespaces.
func ownNetwork(t *testing.T, addrs ...string) bool {
	t.Helper()
	if os.Getenv(insideNetwork) != "" {
		setUpLoopback(t, addrs)
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), insideNetwork+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("in a network of its own: %v\n%s", err, out)
	}
	return false
}

// setUpLoopback brings lo up and gives it IPv6 addresses (netdevice(7), struct in6_ifreq).
func setUpLoopback(t *testing.T, addrs []string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	up, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	up.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, up); err != nil {
		t.Fatalf("bring lo up: %v", err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		request := struct {
			addr   [16]byte
			prefix uint32
			index  int32
		}{netip.MustParseAddr(a).As16(), 64, int32(lo.Index)}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&request))); errno != 0 {
			t.Fatalf("add %s to lo: %v", a, errno)
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			c, err := net.ListenPacket("udp", "["+a+"%lo]:0") // the kernel makes it ready a little later
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
	}
}

// A secondary with a link-local address is notified when its interface is named; and it is
// on record by which interface it comes.
func TestLinkLocal(t *testing.T) {
	if !ownNetwork(t, "fe80::1", "fe80::2") {
		return
	}
	l := xfrtest.ListenerAt(t, "[fe80::2%lo]:5300")
	corefile := xfrtest.Guarded("allow as ns2 net fe80::2 key a.example.net.\n notify [fe80::2%lo]:5300 key a.example.net. source fe80::1%lo", "")
	corefile = strings.Replace(strings.Replace(corefile, "bind 127.0.0.1", "bind lo", 1), "example.org:0", "example.org:5353", 1)
	s := xfrtest.Serve(t, corefile, map[string]string{"db": xfrtest.ZoneOrg})
	l.Wait(t, "example.org. 7 a.example.net. hmac-sha256.")
	if got := strings.Join(l.From, " "); got != "fe80::1%lo" {
		t.Errorf("NOTIFY came from %s, want fe80::1%%lo", got)
	}
	e := s.Await(t, "zone-notify-accepted", 1)[0]
	if e["destination.ip"] != "fe80::2" || e["coredns.xfr.notify.zone_id"] != "lo" || e["coredns.xfr.secondary"] != "fe80::2" || e["rule.name"] != "ns2" {
		t.Errorf("the event is %v", e)
	}
	for i, network := range []string{"tcp", "udp"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("fe80::2"), Zone: "lo"}}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP("fe80::2"), Zone: "lo"}
		}
		conn, err := d.Dial(network, "[fe80::1%lo]:5353")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer := xfrtest.Converse(t, conn, xfrtest.Signed(t, xfrtest.Question(dns.TypeIXFR, xfrtest.WithSerial(7)), xfrtest.KeyA, dns.HmacSHA256, xfrtest.SecretA), 1)
		if m := xfrtest.Unpack(t, answer[0]); m.Rcode != dns.RcodeSuccess {
			t.Errorf("%s: %v", network, m)
		}
		if e := s.Events(t, i+1)[i]; e["client.ip"] != "fe80::2" || e["coredns.xfr.client.zone_id"] != "lo" || e["event.reason"] != "policy-allow" {
			t.Errorf("%s: the event is %v", network, e)
		}
	}
	for _, e := range audittest.Lines(t, s.Dir+"/audit.log") {
		if strings.Contains(fmt.Sprint(e["client.ip"], e["destination.ip"]), "%") {
			t.Errorf("an address has a zone identifier, which no log store takes for one: %v", e)
		}
	}
}
