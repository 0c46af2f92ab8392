// Command peer is what the operator is measured beside: a small operator on controller-runtime that does the same work
// for the API server. For each Tenant it applies the same objects (OBJECTS, written by the bench with the operator's own
// builders), waits for the same workloads and writes a status.
//
// It has what a careful author would give it: cached reads, metadata only of what it need not read, a hash of what was
// applied so that nothing is written at rest, no rate limit of the client's own, as many workers as the operator.
package main

import (
	"flag"
	"log"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

func main() {
	objects := flag.String("objects", "", "file with the objects of one Tenant")
	metrics := flag.String("metrics", "127.0.0.1:8081", "where /metrics is served")
	workers := flag.Int("workers", 8, "concurrent reconciles")
	namespace := flag.String("namespace", "okitoki-system", "namespace of the Lease")
	flag.Parse()
	ctrl.SetLogger(klog.Background())
	if err := run(*objects, *metrics, *namespace, *workers); err != nil {
		log.Fatal(err)
	}
}

func run(objects, metrics, namespace string, workers int) error {
	text, err := os.ReadFile(objects)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	managed, err := labels.Parse("app.kubernetes.io/managed-by=okitoki-operator")
	if err != nil {
		return err
	}
	config := ctrl.GetConfigOrDie()
	config.QPS = -1
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       server.Options{BindAddress: metrics},
		LeaderElection:                true,
		LeaderElectionID:              "peer",
		LeaderElectionNamespace:       namespace,
		LeaderElectionReleaseOnCancel: true,
		Cache:                         cache.Options{DefaultLabelSelector: managed, ByObject: byObject()},
		Client:                        client.Options{Cache: &client.CacheOptions{Unstructured: true}},
	})
	if err != nil {
		return err
	}
	issuer, err := newIssuer()
	if err != nil {
		return err
	}
	reconciler := &Reconciler{Client: manager.GetClient(), objects: string(text), issuer: issuer}
	if err := watch(manager, reconciler, workers); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

// byObject: Tenants carry no label of ours; of the workloads only the status and the applied hash are read.
func byObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		tenant():              {Label: labels.Everything()},
		&appsv1.StatefulSet{}: {Transform: slim},
		&appsv1.Deployment{}:  {Transform: slim},
	}
}

// slim leaves out of a cached workload what is never read.
func slim(object any) (any, error) {
	switch found := object.(type) {
	case *appsv1.StatefulSet:
		found.ManagedFields = nil
		found.Spec.Template.Spec.Containers = nil
		found.Spec.Template.Spec.Volumes = nil
	case *appsv1.Deployment:
		found.ManagedFields = nil
		found.Spec.Template.Spec.Containers = nil
		found.Spec.Template.Spec.Volumes = nil
	}
	return object, nil
}

func watch(manager ctrl.Manager, reconciler *Reconciler, workers int) error {
	byLabel := handler.EnqueueRequestsFromMapFunc(owner)
	build := ctrl.NewControllerManagedBy(manager).Named("tenant").
		For(tenant(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Watches(&appsv1.StatefulSet{}, byLabel).
		Watches(&appsv1.Deployment{}, byLabel)
	for _, kind := range metadataKinds {
		build = build.WatchesMetadata(metadataOf(kind), byLabel)
	}
	return build.Complete(reconciler)
}
