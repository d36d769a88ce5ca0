// Says which credentials the kubelet takes from a pull secret for an image. Reads one question a line from standard
// input, and writes one answer a line:
//
//	{"type": "kubernetes.io/dockerconfigjson", "document": "…base64…", "image": "r.example/web"}
//	{"taken": true, "credentials": [["user", "password"]]}
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
)

type question struct {
	Type     v1.SecretType `json:"type"`
	Document []byte        `json:"document"`
	Image    string        `json:"image"`
}

type answer struct {
	Taken       bool        `json:"taken"`
	Credentials [][2]string `json:"credentials"`
}

func main() {
	// It logs entries that it passes over, which are part of what is asked here.
	klog.SetLogger(klog.Logger{})
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := json.NewEncoder(os.Stdout)
	for in.More() {
		var asked question
		if err := in.Decode(&asked); err != nil {
			log.Fatal(err)
		}
		if err := out.Encode(lookup(asked)); err != nil {
			log.Fatal(err)
		}
	}
}

func lookup(asked question) answer {
	key := v1.DockerConfigJsonKey
	if asked.Type == v1.SecretTypeDockercfg {
		key = v1.DockerConfigKey
	}
	secret := v1.Secret{Type: asked.Type, Data: map[string][]byte{key: asked.Document}}
	keyring, err := secrets.MakeDockerKeyring([]v1.Secret{secret}, &credentialprovider.BasicDockerKeyring{})
	if err != nil {
		return answer{Credentials: [][2]string{}}
	}
	found, _ := keyring.Lookup(asked.Image)
	answered := answer{Taken: true, Credentials: [][2]string{}}
	for _, credential := range found {
		// An entry without credentials is a match, and pulls as nobody in particular.
		if credential.Username != "" || credential.Password != "" {
			answered.Credentials = append(answered.Credentials, [2]string{credential.Username, credential.Password})
		}
	}
	return answered
}
