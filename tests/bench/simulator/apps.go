package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

const profilePath = "/platform/v1/tenant"

// apps keeps what each tenant's app was told, by host name.
type apps struct {
	lock     sync.Mutex
	profiles map[string][]byte
}

func serveApps(listen, authority string) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(authority, "tls.crt"), filepath.Join(authority, "tls.key"))
	if err != nil {
		return err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	issued := &certificates{authority: pair, key: own, byHost: map[string]*tls.Certificate{}}
	server := &http.Server{
		Addr:              listen,
		Handler:           &apps{profiles: map[string][]byte{}},
		TLSConfig:         &tls.Config{GetCertificate: issued.get},
		ReadHeaderTimeout: 5 * time.Second,
	}
	return server.ListenAndServeTLS("", "")
}

func (a *apps) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	if request.URL.Path != profilePath {
		http.NotFound(answer, request)
		return
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	if request.Method == http.MethodPut {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		a.profiles[request.Host] = body
	}
	profile, known := a.profiles[request.Host]
	answer.Header().Set("Content-Type", "application/json")
	if !known {
		answer.WriteHeader(http.StatusNotFound)
		profile = []byte("{}")
	}
	_, _ = answer.Write(profile)
}

// certificates issues one for each host that is asked for: every app has its own in a cluster.
type certificates struct {
	authority tls.Certificate
	key       *ecdsa.PrivateKey
	lock      sync.Mutex
	byHost    map[string]*tls.Certificate
}

func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if found, known := c.byHost[hello.ServerName]; known {
		return found, nil
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "app"},
		DNSNames:     []string{hello.ServerName},
		NotBefore:    now.Add(-time.Minute),
		NotAfter:     now.AddDate(0, 1, 0),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, c.authority.Leaf, c.key.Public(), c.authority.PrivateKey)
	if err != nil {
		return nil, err
	}
	found := &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: c.key}
	c.byHost[hello.ServerName] = found
	return found, nil
}
