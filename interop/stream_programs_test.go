package interop

// Protocols that were made for TCP, over Stream.

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/hashicorp/yamux"
	"golang.org/x/crypto/ssh"

	"github.com/tautws/websocket"
)

// data returns n bytes and their sum.
func data(n int) (p []byte, sum string) {
	p = make([]byte, n)
	rand.Read(p)
	return p, fmt.Sprintf("%x", sha256.Sum256(p))
}

// sumOf answers with the sum of what it reads until the end.
func sumOf(w io.Writer, r io.Reader) error {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%x", h.Sum(nil))
	return err
}

func TestStreamSSH(t *testing.T) {
	eachConn(t, func(t *testing.T, connect func(t *testing.T) (client, server *websocket.Conn)) {
		c, s := connect(t)
		served := make(chan error, 1)
		go func() { served <- serveSSH(s.Stream(websocket.BinaryMessage)) }()
		config := &ssh.ClientConfig{
			User:            "user",
			Auth:            []ssh.AuthMethod{ssh.Password("secret")},
			HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		}
		nc, channels, requests, err := ssh.NewClientConn(c.Stream(websocket.BinaryMessage), "", config)
		if err != nil {
			t.Fatal(err)
		}
		client := ssh.NewClient(nc, channels, requests)
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				session, err := client.NewSession()
				if err != nil {
					t.Error(err)
					return
				}
				defer session.Close()
				in, sum := data(3 << 20)
				session.Stdin = bytes.NewReader(in)
				if out, err := session.Output("sum"); string(out) != sum || err != nil {
					t.Errorf("the other end says %s, %v, want %s", out, err, sum)
				}
			})
		}
		running.Wait()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// serveSSH runs the sessions of a client until it ends the connection.
func serveSSH(nc net.Conn) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if string(password) != "secret" {
			return nil, fmt.Errorf("password %q", password)
		}
		return nil, nil
	}}
	config.AddHostKey(signer)
	conn, channels, requests, err := ssh.NewServerConn(nc, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return err
		}
		go func() {
			for r := range requests {
				r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					go func() {
						status := struct{ Status uint32 }{}
						if sumOf(channel, channel) != nil {
							status.Status = 1
						}
						channel.SendRequest("exit-status", false, ssh.Marshal(status))
						channel.Close()
					}()
				}
			}
		}()
	}
	return nil
}

func TestStreamYamux(t *testing.T) {
	eachConn(t, func(t *testing.T, connect func(t *testing.T) (client, server *websocket.Conn)) {
		c, s := connect(t)
		config := yamux.DefaultConfig()
		config.LogOutput = io.Discard
		client, err := yamux.Client(c.Stream(websocket.BinaryMessage), config)
		if err != nil {
			t.Fatal(err)
		}
		server, err := yamux.Server(s.Stream(websocket.BinaryMessage), config)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() {
			for {
				stream, err := server.Accept()
				if err != nil {
					served <- err
					return
				}
				go func() {
					sumOf(stream, stream)
					stream.Close()
				}()
			}
		}()
		var running sync.WaitGroup
		for i := range 8 {
			running.Go(func() {
				stream, err := client.Open()
				if err != nil {
					t.Error(err)
					return
				}
				in, sum := data(i << 18)
				if _, err := stream.Write(in); err != nil {
					t.Error(err)
				}
				stream.Close() // it can still be read
				if out, err := io.ReadAll(stream); string(out) != sum || err != nil {
					t.Errorf("the other end says %s, %v, want %s", out, err, sum)
				}
			})
		}
		running.Wait()
		if rtt, err := client.Ping(); err != nil {
			t.Error(rtt, err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != io.EOF {
			t.Errorf("the session of the server ended with %v", err)
		}
	})
}
