// Pods whose outgoing traffic is intercepted by the proxy of a service mesh. It matches Services by their addresses, so
// sockets must not be translated before it.
import { at, type Place } from './reader.ts';

interface Mark {
  readonly mesh: string;
  /** Set by the mesh on pods that it has injected or redirected, not by their author. */
  readonly annotation: string;
  readonly value?: string; // undefined: any
}

const marks: readonly Mark[] = [
  // istio/api, annotation/annotations.gen.go: SidecarStatus, AmbientRedirection
  { mesh: 'istio', annotation: 'sidecar.istio.io/status' },
  { mesh: 'istio ambient', annotation: 'ambient.istio.io/redirection', value: 'enabled' },
  // linkerd/linkerd2, pkg/k8s/labels.go: ProxyVersionAnnotation
  { mesh: 'linkerd', annotation: 'linkerd.io/proxy-version' },
  // kumahq/kuma, pkg/plugins/runtime/k8s/metadata/annotations.go: KumaSidecarInjectedAnnotation
  { mesh: 'kuma', annotation: 'kuma.io/sidecar-injected', value: 'true' },
  // hashicorp/consul-k8s, control-plane/connect-inject/constants/annotations_and_labels.go: KeyTransparentProxyStatus
  { mesh: 'consul', annotation: 'consul.hashicorp.com/transparent-proxy-status' },
];

/** Name of the mesh; undefined for a pod that is in none. */
export function meshOf(pod: Place): string | undefined {
  const annotations = at(pod, 'metadata', 'annotations');
  const found = marks.find(({ annotation, value }) => {
    const given = at(annotations, annotation).value;
    return typeof given === 'string' && (value === undefined || given === value);
  });
  return found?.mesh;
}
