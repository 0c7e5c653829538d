// Pods whose traffic a proxy intercepts on its way out. Such a proxy knows services by their addresses; a connection that a
// socket hook has given a backend's address looks to it like one to a stranger.
import { at, type Place } from './reader.ts';

interface Sign {
  readonly mesh: string;
  /** Written by the mesh when it has taken the pod, and not by its author. */
  readonly annotation: string;
  readonly value?: string; // any, when it is not said
}

const signs: readonly Sign[] = [
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

export function meshOf(pod: Place): string | undefined {
  const annotations = at(pod, 'metadata', 'annotations');
  const found = signs.find(({ annotation, value }) => {
    const given = at(annotations, annotation).value;
    return typeof given === 'string' && (value === undefined || given === value);
  });
  return found?.mesh;
}
