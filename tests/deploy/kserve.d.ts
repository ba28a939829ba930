/* The parts of KServe's API (serving.kserve.io) that deploy/kserve uses.  A field
 * that is not declared here is a finding. */
import type { IDeployment } from "kubernetes-models/apps/v1/Deployment";

type PodSpec = NonNullable<NonNullable<IDeployment["spec"]>["template"]["spec"]>;
type Container = PodSpec["containers"][number];
type Metadata = NonNullable<IDeployment["metadata"]>;

export interface IServingRuntime {
  apiVersion: "serving.kserve.io/v1alpha1";
  kind: "ServingRuntime";
  metadata: Metadata;
  spec: {
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
    supportedModelFormats: { name: string; version?: string; autoSelect?: boolean; priority?: number }[];
    multiModel?: boolean;
    disabled?: boolean;
    protocolVersions?: ("v1" | "v2" | "grpc-v1" | "grpc-v2")[];
    containers: Container[];
    volumes?: PodSpec["volumes"];
    nodeSelector?: Record<string, string>;
    tolerations?: PodSpec["tolerations"];
  };
}

export interface IInferenceService {
  apiVersion: "serving.kserve.io/v1beta1";
  kind: "InferenceService";
  metadata: Metadata;
  spec: {
    predictor: Omit<PodSpec, "containers"> & {
      minReplicas?: number;
      maxReplicas?: number;
      scaleMetric?: "cpu" | "memory" | "concurrency" | "rps";
      scaleTarget?: number;
      containerConcurrency?: number;
      timeout?: number;
      canaryTrafficPercent?: number;
      model: Omit<Container, "name"> & {
        name?: string;
        modelFormat: { name: string; version?: string };
        protocolVersion?: "v1" | "v2" | "grpc-v1" | "grpc-v2";
        runtime?: string;
        storageUri?: string;
      };
    };
  };
}
