package graphsim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys are what the cloud proves itself with: a certificate authority of its
// own and the key that signs tokens. Both stay the same in one directory, so
// that a restart breaks neither a client's trust nor a token. Validity follows
// the machine's clock, not the simulated one: TLS clients check against theirs.
type keys struct {
	ca     *x509.Certificate
	caPEM  []byte
	caFile string // "" in memory
	server tls.Certificate
	token  *ecdsa.PrivateKey
	header string // of every token, encoded

	verified verdictCache
}

func loadKeys(dir string, hosts []string) (*keys, error) {
	caKey, err := loadKey(dir, "ca-key.pem", func() (crypto.Signer, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	if err != nil {
		return nil, err
	}
	tokenKey, err := loadKey(dir, "token-signing-key.pem", func() (crypto.Signer, error) {
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	})
	if err != nil {
		return nil, err
	}
	k := &keys{}
	var ok bool
	if k.token, ok = tokenKey.(*ecdsa.PrivateKey); !ok || k.token.Curve != elliptic.P256() {
		return nil, fmt.Errorf("read token-signing-key.pem: not a key on P-256")
	}
	header, err := json.Marshal(map[string]string{"alg": "ES256", "typ": "JWT", "kid": k.keyID()})
	if err != nil {
		return nil, err
	}
	k.header = raw64.EncodeToString(header)
	if err := k.loadCA(dir, caKey); err != nil {
		return nil, err
	}
	if k.server, err = k.issue(caKey, hosts); err != nil {
		return nil, fmt.Errorf("issue server certificate: %w", err)
	}
	return k, nil
}

// loadKey reads a private key, or makes and writes it.
func loadKey(dir, name string, generate func() (crypto.Signer, error)) (crypto.Signer, error) {
	path := filepath.Join(dir, name)
	if dir != "" {
		text, err := os.ReadFile(path)
		if err == nil {
			block, _ := pem.Decode(text)
			if block == nil {
				return nil, fmt.Errorf("read %s: no PEM block", path)
			}
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			signer, ok := key.(crypto.Signer)
			if !ok {
				return nil, fmt.Errorf("read %s: not a signing key", path)
			}
			return signer, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	key, err := generate()
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	if dir == "" {
		return key, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return key, replaceFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// loadCA reads the authority's certificate, or makes one for its key.
func (k *keys) loadCA(dir string, key crypto.Signer) error {
	if dir != "" {
		k.caFile = filepath.Join(dir, "ca.pem")
		if text, err := os.ReadFile(k.caFile); err == nil {
			block, _ := pem.Decode(text)
			if block == nil {
				return fmt.Errorf("read %s: no PEM block", k.caFile)
			}
			k.caPEM = text
			if k.ca, err = x509.ParseCertificate(block.Bytes); err != nil {
				return fmt.Errorf("read %s: %w", k.caFile, err)
			}
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "pinreset simulated cloud"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
		// A client that trusts this authority trusts it for this machine only.
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make ca.pem: %w", err)
	}
	if k.ca, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("make ca.pem: %w", err)
	}
	k.caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if dir == "" {
		return nil
	}
	return replaceFile(k.caFile, k.caPEM)
}

// issue makes the server's certificate, new at every start.
func (k *keys) issue(caKey crypto.Signer, hosts []string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "pinreset simulated cloud"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, k.ca, key.Public(), caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, k.ca.Raw}, PrivateKey: key}, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		panic(fmt.Sprintf("graphsim: read random: %v", err)) // crypto/rand does not fail
	}
	return n
}

// replaceFile writes a file of which a crash leaves all or nothing.
func replaceFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
