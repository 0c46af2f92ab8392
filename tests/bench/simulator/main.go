// Command simulator stands in for everything around an operator that is neither it nor the API server: the controllers of
// workloads, the scheduler and the kubelets, Patroni, and the tenants' apps. It runs nothing; it writes what those would
// write for a Tenant that comes up well.
//
// For a StatefulSet: its claims, its pods with Patroni's labels and annotations, Patroni's ConfigMaps. For a Deployment:
// its pods. Then the pods' and the workload's status. The apps are one HTTPS server that answers for every host name
// with a certificate of the platform's CA.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

const workers = 8

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	listen := flag.String("listen", "127.0.0.1:8443", "where the apps answer")
	authority := flag.String("authority", "", "folder with the platform's CA: tls.crt, tls.key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *listen, *authority); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, kubeconfig, listen, authority string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.UserAgent = "simulator"
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- serveApps(listen, authority) }()
	go simulate(ctx, clients)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

type key struct{ kind, namespace, name string }

func simulate(ctx context.Context, clients kubernetes.Interface) {
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithTweakListOptions(
		func(options *metav1.ListOptions) { options.LabelSelector = "platform.oki-toki.net/tenant" }))
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[key]())
	world := &world{
		clients:      clients,
		statefulSets: factory.Apps().V1().StatefulSets().Lister(),
		deployments:  factory.Apps().V1().Deployments().Lister(),
	}
	enqueue(factory.Apps().V1().StatefulSets().Informer(), queue, "StatefulSet")
	enqueue(factory.Apps().V1().Deployments().Informer(), queue, "Deployment")
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	for range workers {
		go func() {
			for {
				item, down := queue.Get()
				if down {
					return
				}
				if err := world.serve(ctx, item); err != nil {
					log.Printf("%v: %v", item, err)
					queue.AddRateLimited(item)
				} else {
					queue.Forget(item)
				}
				queue.Done(item)
			}
		}()
	}
	<-ctx.Done()
	queue.ShutDown()
	time.Sleep(100 * time.Millisecond)
}

func enqueue(informer cache.SharedIndexInformer, queue workqueue.TypedRateLimitingInterface[key], kind string) {
	add := func(object any) {
		if found, ok := object.(metav1.Object); ok {
			queue.Add(key{kind, found.GetNamespace(), found.GetName()})
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, object any) { add(object) },
	})
	if err != nil {
		log.Fatal(err)
	}
}
