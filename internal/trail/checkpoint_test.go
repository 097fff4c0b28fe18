// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoints by time: at most the interval after the first line that has none, and
// none while nothing is written.
func TestCheckpointInterval(t *testing.T) {
	signer, verifier := keyed(t)
	path := filepath.Join(memoryDir(t), "audit.log")
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		f, err := Open(path, Options{Key: signer, CheckpointInterval: 30 * time.Second, OnCheckpoint: func(text string) {
			n, err := note.Open([]byte(text), note.VerifierList(verifier))
			if err != nil {
				t.Error(err)
				return
			}
			cp, err := parseCheckpoint(n.Text)
			if err != nil {
				t.Error(err)
			}
			times = append(times, cp.Time)
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		start := time.Now()
		since := func() []time.Duration {
			synctest.Wait()
			var all []time.Duration
			for _, at := range times {
				all = append(all, at.Sub(start).Round(time.Second))
			}
			return all
		}
		same(t, since(), []time.Duration{0}) // with the first line
		time.Sleep(time.Hour)
		same(t, since(), []time.Duration{0})
		if err := f.Append(t.Context(), event(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if err := f.Append(t.Context(), event(2)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		same(t, since(), []time.Duration{0, time.Hour + 30*time.Second})
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, len(since()), 3)
	})
	r := verifyPaths(t, VerifyOptions{Verifiers: []note.Verifier{verifier}}, path)
	if len(r.Findings) > 0 || r.Checkpoints != 3 {
		t.Errorf("%d checkpoints, %v", r.Checkpoints, r.Findings)
	}
}

// Too much to write is no hang: who waits too long is told, and the file is not down.
func TestOverload(t *testing.T) {
	path := filepath.Join(memoryDir(t), "audit.log")
	synctest.Test(t, func(t *testing.T) {
		d := &faultyDisk{}
		downs := 0
		f, err := Open(path, Options{disk: d, OnState: func(err error) {
			if err != nil {
				downs++
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		d.onSync.set(func(do func([]byte) (int, error), b []byte) (int, error) {
			time.Sleep(30 * time.Millisecond)
			return do(b)
		})
		const callers = 5 * maxGroup
		errs := make(chan error, callers)
		for n := range callers {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				errs <- f.Append(ctx, event(n))
			}()
		}
		late := 0
		for range callers {
			if <-errs != nil {
				late++
			}
		}
		if late == 0 || late == callers || downs > 0 {
			t.Errorf("%d of %d were late; down %d times", late, callers, downs)
		}
		d.onSync.clear()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Retries slow down while the file stays down, and OnState is called once.
func TestRetryPace(t *testing.T) {
	path := filepath.Join(memoryDir(t), "audit.log")
	synctest.Test(t, func(t *testing.T) {
		d := &faultyDisk{}
		f, err := Open(path, Options{disk: d})
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		d.onWrite.set(func(func([]byte) (int, error), []byte) (int, error) { tries++; return 0, os.ErrDeadlineExceeded })
		if err := f.Append(t.Context(), event(1)); err == nil {
			t.Error("it was written")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if tries < 50 || tries > 80 {
			t.Errorf("%d tries in a minute", tries)
		}
		d.onWrite.clear()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !f.healthy() {
			t.Errorf("still down: %v", f.err())
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestGenerateKey(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	_, err := GenerateKey(key, "ns1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(key); st.Mode() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	if _, err := GenerateKey(key, "x"); !errors.Is(err, os.ErrExist) {
		t.Errorf("a key is overwritten: %v", err)
	}
	for i := range 40 { // base64 has plus signs, which separate the parts of a key too
		path := fmt.Sprintf("%s%d", key, i)
		want, err := GenerateKey(path, "x")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := VerifierKey(path); err != nil || got != want {
			t.Errorf("verifier key %q, want %q: %v", got, want, err)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\n"} {
		if _, err := GenerateKey(filepath.Join(dir, "new"), name); err == nil {
			t.Errorf("name %q", name)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	public, err := GenerateKey(key, "ns1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := filepath.Join(dir, "link") // a mounted secret is one
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKey(link); err != nil {
		t.Errorf("link: %v", err)
	}
	secretPart := strings.TrimSpace(string(secret))
	for name, path := range map[string]string{
		"missing":        filepath.Join(dir, "missing"),
		"directory":      dir,
		"device":         "/dev/zero",
		"world-readable": write("world", string(secret), 0o604),
		"public key":     write("public", public, 0o600),
		"damaged":        write("damaged", secretPart[:len(secretPart)-3], 0o600),
		"long":           write("long", strings.Repeat(secretPart, 100), 0o600),
		"empty":          write("empty", "", 0o600),
	} {
		_, err := ReadKey(path)
		if err == nil {
			t.Errorf("%s: it is taken", name)
			continue
		}
		for _, part := range []string{secretPart[20:40], public[20:]} {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error holds the key: %v", name, err)
			}
		}
	}
	if all, err := ReadVerifiers(write("verifiers", "# keys\n\n"+public+"\n"+public+"\n", 0o644)); err != nil || len(all) != 2 {
		t.Errorf("verifiers: %v, %v", all, err)
	}
	for name, text := range map[string]string{"none": "# nothing\n", "private": string(secret), "damaged": public[:30]} {
		if _, err := ReadVerifiers(write("bad", text, 0o600)); err == nil || strings.Contains(err.Error(), secretPart[30:50]) {
			t.Errorf("verifiers, %s: %v", name, err)
		}
	}
}
