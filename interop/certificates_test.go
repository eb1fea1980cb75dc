package interop

// A throw-away certificate authority, made anew for each test that needs TLS.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"
)

// An authority is a certificate authority and one server certificate signed by it, for localhost
// and 127.0.0.1.
type authority struct {
	pool     *x509.CertPool
	cert     tls.Certificate
	caFile   string // PEM
	certFile string // PEM: the server's certificate, its key behind it
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Throw-away authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	caCert, err := x509.ParseCertificate(caDER)
	must(err)

	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	dir := t.TempDir()
	a := &authority{
		pool:     x509.NewCertPool(),
		cert:     tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key},
		caFile:   writeFile(t, dir, "ca.pem", block("CERTIFICATE", caDER)),
		certFile: writeFile(t, dir, "server.pem", block("CERTIFICATE", leafDER)+block("PRIVATE KEY", keyDER)),
	}
	a.pool.AddCert(caCert)
	return a
}

func (a *authority) serverConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.cert}}
}

func (a *authority) clientConfig() *tls.Config { return &tls.Config{RootCAs: a.pool} }
