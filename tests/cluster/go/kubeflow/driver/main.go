// Kubeflow's driver 2.0.5, with what later ones do beside, as Kubeflow 2.17 was seen to do it. It knows few fields of a task's
// Kubernetes configuration, so all of them are kept from it and written into the pod here. And it finds a task's predecessors by
// the names that people see, so it is told the names that the pipeline has for them.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

const driver = "/bin/kubeflow-driver"

type object = map[string]any

func main() {
	configuration, patch, rest, err := split(os.Args[1:])
	if err != nil {
		fail(err)
	}
	command := exec.Command(driver, rest...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			os.Exit(ended.ExitCode())
		}
		fail(err)
	}
	if configuration == "" {
		return
	}
	if _, err := os.Stat(patch); errors.Is(err, os.ErrNotExist) {
		return // No pod: its answer is in the cache.
	}
	if err := extend(patch, configuration); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// The task's configuration, where the patch of its pod is written, and what the driver is told instead.
func split(arguments []string) (configuration, patch string, rest []string, err error) {
	for i := 0; i < len(arguments); i += 2 {
		name, value := arguments[i], arguments[i+1]
		switch name {
		case "--kubernetes_config":
			configuration = value
			continue
		case "--pod_spec_patch_path":
			patch = value
		case "--task":
			if value == "" {
				break // The whole pipeline is no task.
			}
			if value, err = renamed(value); err != nil {
				return
			}
		}
		rest = append(rest, name, value)
	}
	return
}

// A task under its own name, which is that of the Workflow's node that this is: WORKFLOW(0).root(0).NAME-driver(0), with the number
// of the try of each.
func renamed(content string) (string, error) {
	var task object
	if err := json.Unmarshal([]byte(content), &task); err != nil {
		return "", err
	}
	if information, shown := task["taskInfo"].(object); shown {
		node := os.Getenv("NODE_NAME")
		name, _, _ := strings.Cut(node[strings.LastIndex(node, ".")+1:], "(")
		information["name"] = strings.TrimSuffix(name, "-driver")
	}
	renamed, err := json.Marshal(task)
	return string(renamed), err
}

func extend(path, configuration string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var pod, wanted object
	if err := json.Unmarshal(content, &pod); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(configuration), &wanted); err != nil {
		return err
	}
	main := pod["containers"].([]any)[0].(object)
	// Where the launcher keeps artifacts, whoever the task's user is.
	mountEmpty(pod, main, "minio-scratch", "/minio")
	for field, value := range wanted {
		switch field {
		case "activeDeadlineSeconds":
			pod[field] = number(value)
		case "configMapAsEnv":
			appendTo(main, "env", variables(value, "configMapName", "configMapKey", "configMapKeyRef")...)
		case "secretAsEnv":
			appendTo(main, "env", variables(value, "secretName", "secretKey", "secretKeyRef")...)
		case "emptyDirMounts":
			for _, each := range value.([]any) {
				mount := each.(object)
				mountEmpty(pod, main, mount["volumeName"], mount["mountPath"])
			}
		case "imagePullPolicy":
			main[field] = value
		case "nodeAffinity":
			required := object{"nodeSelectorTerms": value}
			pod["affinity"] = object{"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": required}}
		case "securityContext":
			context := value.(object)
			context["runAsUser"], context["runAsGroup"] = number(context["runAsUser"]), number(context["runAsGroup"])
			main[field] = context
		default:
			return fmt.Errorf("nothing is known of %s in a task's Kubernetes configuration", field)
		}
	}
	content, err = json.Marshal(pod)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func mountEmpty(pod, container object, name, path any) {
	appendTo(pod, "volumes", object{"name": name, "emptyDir": object{}})
	appendTo(container, "volumeMounts", object{"name": name, "mountPath": path})
}

func variables(sources any, nameOf, keyOf, reference string) (made []any) {
	for _, each := range sources.([]any) {
		source := each.(object)
		for _, pair := range source["keyToEnv"].([]any) {
			names := pair.(object)
			selector := object{"name": source[nameOf], "key": names[keyOf], "optional": source["optional"]}
			made = append(made, object{"name": names["envVar"], "valueFrom": object{reference: selector}})
		}
	}
	return
}

// Protobuf writes numbers of 64 bits as text.
func number(value any) any {
	if text, ok := value.(string); ok {
		if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
			return whole
		}
	}
	return value
}

func appendTo(where object, field string, more ...any) {
	list, _ := where[field].([]any)
	where[field] = append(list, more...)
}
