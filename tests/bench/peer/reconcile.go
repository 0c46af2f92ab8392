package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

const (
	manager     = client.FieldOwner("peer")
	finalizer   = "platform.oki-toki.net/cleanup"
	tenantLabel = "platform.oki-toki.net/tenant"
	appliedHash = "platform.oki-toki.net/applied-hash"
)

// Words of OBJECTS that stand for a Tenant's own.
const (
	placeholderName = "placeholder-tenant"
	placeholderUID  = "00000000-0000-4000-8000-000000000000"
)

// metadataKinds are only compared by their hash: no more of them than their metadata is kept.
var metadataKinds = []schema.GroupVersionKind{
	{Version: "v1", Kind: "Namespace"},
	{Version: "v1", Kind: "Secret"},
	{Version: "v1", Kind: "ConfigMap"},
	{Version: "v1", Kind: "Service"},
	{Version: "v1", Kind: "ServiceAccount"},
	{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"},
	{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
	{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
}

func tenant() *unstructured.Unstructured {
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(schema.GroupVersionKind{
		Group: "platform.oki-toki.net", Version: "v1alpha1", Kind: "Tenant",
	})
	return found
}

func metadataOf(kind schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	found := &metav1.PartialObjectMetadata{}
	found.SetGroupVersionKind(kind)
	return found
}

func owner(_ context.Context, object client.Object) []ctrl.Request {
	name := object.GetLabels()[tenantLabel]
	if name == "" {
		return nil
	}
	return []ctrl.Request{{NamespacedName: types.NamespacedName{Name: name}}}
}

// Reconciler brings one Tenant to what its spec says.
type Reconciler struct {
	client.Client
	objects string
	issuer  *issuer
}

// Reconcile is one pass.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	found := tenant()
	if err := r.Get(ctx, request.NamespacedName, found); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	found = found.DeepCopy()
	if controllerutil.AddFinalizer(found, finalizer) {
		if err := r.Update(ctx, found, manager); err != nil {
			return ctrl.Result{}, err
		}
	}
	if _, seen, _ := unstructured.NestedSlice(found.Object, "status", "conditions"); !seen {
		if err := r.report(ctx, found, "False", "Reconciling", "its objects are being made"); err != nil {
			return ctrl.Result{}, err
		}
	}
	wanted, err := r.build(found)
	if err != nil {
		return ctrl.Result{}, err
	}
	for _, object := range wanted {
		if err := r.apply(ctx, object); err != nil {
			return ctrl.Result{}, fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	ready, err := r.ready(ctx, "tenant-"+request.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !ready {
		return ctrl.Result{}, r.report(ctx, found, "False", "PodsMissing", "not all pods are ready")
	}
	return ctrl.Result{}, r.report(ctx, found, "True", "Ready", "everything is in place and serves")
}

func (r *Reconciler) build(tenant *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	text := strings.ReplaceAll(r.objects, placeholderName, tenant.GetName())
	text = strings.ReplaceAll(text, placeholderUID, string(tenant.GetUID()))
	var raw []map[string]any
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	var wanted []*unstructured.Unstructured
	for _, object := range raw {
		one := &unstructured.Unstructured{Object: object}
		if one.GetKind() == "Deployment" {
			replicas, _, _ := unstructured.NestedInt64(tenant.Object, "spec", "app", "replicas")
			if err := unstructured.SetNestedField(object, replicas, "spec", "replicas"); err != nil {
				return nil, err
			}
		}
		content, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(content)
		notes := one.GetAnnotations()
		if notes == nil {
			notes = map[string]string{}
		}
		notes[appliedHash] = hex.EncodeToString(sum[:8])
		one.SetAnnotations(notes)
		wanted = append(wanted, one)
	}
	return wanted, nil
}

func (r *Reconciler) apply(ctx context.Context, wanted *unstructured.Unstructured) error {
	var live client.Object = metadataOf(wanted.GroupVersionKind())
	switch wanted.GetKind() {
	case "StatefulSet":
		live = &appsv1.StatefulSet{}
	case "Deployment":
		live = &appsv1.Deployment{}
	}
	err := r.Get(ctx, client.ObjectKeyFromObject(wanted), live)
	if err == nil && live.GetAnnotations()[appliedHash] == wanted.GetAnnotations()[appliedHash] {
		return nil
	}
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if wanted.GetKind() == "Secret" && wanted.GetNamespace() == "tenant-"+wanted.GetLabels()[tenantLabel] {
		if err == nil {
			return nil
		}
		if err := r.fill(wanted); err != nil {
			return err
		}
		if err := r.Create(ctx, wanted, manager); !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	}
	return r.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), manager, client.ForceOwnership)
}

// fill gives a Secret values of its own, as the operator does when it makes one.
func (r *Reconciler) fill(secret *unstructured.Unstructured) error {
	data, _, err := unstructured.NestedStringMap(secret.Object, "data")
	if err != nil {
		return err
	}
	if secret.GetName() == "app-tls" {
		certificate, key, err := r.issuer.issue("app." + secret.GetNamespace() + ".svc")
		if err != nil {
			return err
		}
		data = map[string]string{"tls.crt": encode(certificate), "tls.key": encode(key)}
	} else {
		for name := range data {
			value := make([]byte, 32)
			if _, err := rand.Read(value); err != nil {
				return err
			}
			data[name] = encode([]byte(hex.EncodeToString(value)))
		}
	}
	return unstructured.SetNestedStringMap(secret.Object, data, "data")
}

func encode(value []byte) string { return base64.StdEncoding.EncodeToString(value) }

func (r *Reconciler) ready(ctx context.Context, namespace string) (bool, error) {
	database, app := &appsv1.StatefulSet{}, &appsv1.Deployment{}
	if err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "postgres"}, database); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "app"}, app); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return database.Status.ReadyReplicas == *database.Spec.Replicas &&
		app.Status.ReadyReplicas == *app.Spec.Replicas, nil
}

// report writes the status when it says something else now.
func (r *Reconciler) report(ctx context.Context, tenant *unstructured.Unstructured, status, reason, message string) error {
	conditions, _, _ := unstructured.NestedSlice(tenant.Object, "status", "conditions")
	for _, item := range conditions {
		old, _ := item.(map[string]any)
		if old["status"] == status && old["reason"] == reason && old["observedGeneration"] == tenant.GetGeneration() {
			return nil
		}
	}
	patch := map[string]any{"status": map[string]any{
		"observedGeneration": tenant.GetGeneration(),
		"namespace":          "tenant-" + tenant.GetName(),
		"conditions": []any{map[string]any{
			"type": "Ready", "status": status, "reason": reason, "message": message,
			"observedGeneration": tenant.GetGeneration(),
			"lastTransitionTime": metav1.Now().UTC().Format("2006-01-02T15:04:05Z"),
		}},
	}}
	content, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return r.Status().Patch(ctx, tenant, client.RawPatch(types.MergePatchType, content), manager)
}
