package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"sigs.k8s.io/yaml"
)

const node = "node-0"

type world struct {
	clients      kubernetes.Interface
	statefulSets appslisters.StatefulSetLister
	deployments  appslisters.DeploymentLister
}

// serve brings the pods of a workload to what it asks for, once for each generation.
func (w *world) serve(ctx context.Context, item key) error {
	if item.kind == "StatefulSet" {
		found, err := w.statefulSets.StatefulSets(item.namespace).Get(item.name)
		if apierrors.IsNotFound(err) || (err == nil && found.Status.ObservedGeneration >= found.Generation) {
			return nil
		}
		if err != nil {
			return err
		}
		return w.statefulSet(ctx, found)
	}
	found, err := w.deployments.Deployments(item.namespace).Get(item.name)
	if apierrors.IsNotFound(err) || (err == nil && found.Status.ObservedGeneration >= found.Generation) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.deployment(ctx, found)
}

func (w *world) statefulSet(ctx context.Context, set *appsv1.StatefulSet) error {
	replicas := int(*set.Spec.Replicas)
	for ordinal := range replicas {
		member := fmt.Sprintf("%s-%d", set.Name, ordinal)
		template := set.Spec.Template.DeepCopy()
		for _, claim := range set.Spec.VolumeClaimTemplates {
			claim := claim.DeepCopy()
			volume := corev1.Volume{Name: claim.Name}
			claim.Name, claim.Namespace = claim.Name+"-"+member, set.Namespace
			volume.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim.Name}
			template.Spec.Volumes = append(template.Spec.Volumes, volume)
			_, err := w.clients.CoreV1().PersistentVolumeClaims(set.Namespace).Create(ctx, claim, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return err
			}
		}
		role, status := "primary", `{"state":"running","role":"primary","timeline":1}`
		if ordinal > 0 {
			role, status = "replica", `{"state":"running","replication_state":"streaming","role":"replica","timeline":1}`
		}
		if err := w.pod(ctx, set, member, *template, map[string]string{"role": role}, status); err != nil {
			return err
		}
	}
	if err := w.patroni(ctx, set); err != nil {
		return err
	}
	set = set.DeepCopy()
	set.Status = appsv1.StatefulSetStatus{
		ObservedGeneration: set.Generation, Replicas: *set.Spec.Replicas, ReadyReplicas: *set.Spec.Replicas,
		UpdatedReplicas: *set.Spec.Replicas, AvailableReplicas: *set.Spec.Replicas,
	}
	_, err := w.clients.AppsV1().StatefulSets(set.Namespace).UpdateStatus(ctx, set, metav1.UpdateOptions{})
	return err
}

// patroni writes the store as a cluster that was just made leaves it: the settings are those of its bootstrap.
func (w *world) patroni(ctx context.Context, set *appsv1.StatefulSet) error {
	settings, err := w.clients.CoreV1().ConfigMaps(set.Namespace).Get(ctx, "postgres-settings", metav1.GetOptions{})
	if err != nil {
		return err
	}
	var file struct {
		Bootstrap struct {
			DCS json.RawMessage `json:"dcs"`
		} `json:"bootstrap"`
	}
	if err := yaml.Unmarshal([]byte(settings.Data["patroni.yaml"]), &file); err != nil {
		return err
	}
	if len(file.Bootstrap.DCS) == 0 {
		return errors.New("patroni.yaml has no bootstrap.dcs")
	}
	for suffix, annotations := range map[string]map[string]string{
		"config": {"config": string(file.Bootstrap.DCS)},
		"leader": {"leader": set.Name + "-0", "ttl": "20"},
		"sync":   {"leader": set.Name + "-0", "sync_standby": set.Name + "-1," + set.Name + "-2"},
	} {
		store := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
			Name: set.Name + "-" + suffix, Namespace: set.Namespace, Annotations: annotations,
			Labels: map[string]string{"cluster-name": set.Name, "app.kubernetes.io/name": set.Name},
		}}
		_, err := w.clients.CoreV1().ConfigMaps(set.Namespace).Create(ctx, store, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func (w *world) deployment(ctx context.Context, found *appsv1.Deployment) error {
	replicas := int(*found.Spec.Replicas)
	for ordinal := range replicas {
		name := fmt.Sprintf("%s-%d", found.Name, ordinal)
		if err := w.pod(ctx, found, name, found.Spec.Template, nil, "{}"); err != nil {
			return err
		}
	}
	// One that is asked for no longer goes; pods are numbered without gaps.
	for ordinal := replicas; ; ordinal++ {
		name := fmt.Sprintf("%s-%d", found.Name, ordinal)
		now := int64(0)
		err := w.clients.CoreV1().Pods(found.Namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if apierrors.IsNotFound(err) {
			break
		}
		if err != nil {
			return err
		}
	}
	found = found.DeepCopy()
	found.Status = appsv1.DeploymentStatus{
		ObservedGeneration: found.Generation, Replicas: *found.Spec.Replicas, ReadyReplicas: *found.Spec.Replicas,
		UpdatedReplicas: *found.Spec.Replicas, AvailableReplicas: *found.Spec.Replicas,
	}
	_, err := w.clients.AppsV1().Deployments(found.Namespace).UpdateStatus(ctx, found, metav1.UpdateOptions{})
	return err
}

func (w *world) pod(
	ctx context.Context, of metav1.Object, name string, template corev1.PodTemplateSpec, labels map[string]string, status string,
) error {
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Name, pod.Namespace, pod.Spec.NodeName = name, of.GetNamespace(), node
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations["status"] = status
	for label, value := range labels {
		pod.Labels[label] = value
	}
	isController := true
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: of.GetName(), UID: of.GetUID(), Controller: &isController,
	}}
	pods := w.clients.CoreV1().Pods(pod.Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
	// Nothing listens there: whoever asks a pod is told so at once.
	ready := []byte(`{"status":{"phase":"Running","podIP":"127.99.0.1","conditions":[{"type":"Ready","status":"True"}]}}`)
	_, err := pods.Patch(ctx, name, types.StrategicMergePatchType, ready, metav1.PatchOptions{}, "status")
	return err
}
