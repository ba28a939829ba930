// Checks what `kubectl kustomize` (or `kustomize build`) renders of
// deploy/kubernetes and deploy/kserve, with no cluster:
//
//   - each document is a literal of its TypeScript type: no unknown field, no
//     wrong type, no removed API; and valid by its JSON schema: quantities,
//     enumerations, what is required;
//   - Pod Security "restricted"; names, selectors, ports and probes that fit
//     together; a grace period that fits preStop and --drain-s; the version;
//   - overlays and components differ from the base in the listed places only.
//
// VERSION is the release's.  Every finding is printed; the exit status says
// whether there was one.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseAllDocuments } from "yaml";

const HERE = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
const TOP = path.join(HERE, "../..");
const MODULES = {
  "v1": "kubernetes-models/v1",
  "apps/v1": "kubernetes-models/apps/v1",
  "autoscaling/v2": "kubernetes-models/autoscaling/v2",
  "policy/v1": "kubernetes-models/policy/v1",
  "networking.k8s.io/v1": "kubernetes-models/networking.k8s.io/v1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
};
const findings = [];
const find = (where, what) => findings.push(`${where}: ${what}`);
const expect = (truth, where, what) => truth || find(where, what);

// ---- Rendering ----------------------------------------------------------------
function renderer() {
  for (const command of [["kubectl", "kustomize"], ["kustomize", "build"]])
    if (spawnSync(command[0], ["--help"], { stdio: "ignore" }).status === 0)
      return command;
  console.log("manifests: neither kubectl nor kustomize is here to render them");
  process.exit(1);
}

const [program, verb] = renderer();

function render(folder) {
  const text = execFileSync(program, [verb, folder], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  return parseAllDocuments(text).map((document) => document.toJS());
}

// What the overlay adds through a component is rendered from a folder of its own.
function renderWithComponent(component) {
  const folder = mkdtempSync(path.join(TOP, "build/component-"));
  try {
    const up = path.relative(folder, path.join(TOP, "deploy/kubernetes"));
    writeFileSync(path.join(folder, "kustomization.yaml"),
      `resources: [${up}/base]\ncomponents: [${up}/components/${component}]\n`);
    return render(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// ---- Types and schemas -----------------------------------------------------------
async function checkSchema(where, object) {
  const module = MODULES[object.apiVersion];
  if (!module)
    return; // KServe's: types only
  const Model = (await import(module))[object.kind];
  if (!Model)
    return find(where, `${object.apiVersion} has no ${object.kind}`);
  try {
    new Model(object).validate();
  } catch (error) {
    find(where, error.message);
  }
}

// One TypeScript file of all documents; tsc's complaints are the findings.
function checkTypes(documents) {
  const lines = documents.map(([where, object], i) => {
    const module = MODULES[object.apiVersion] ? `${MODULES[object.apiVersion]}/${object.kind}` : "./kserve";
    return `import type { I${object.kind} as T${i} } from "${module}"; // ${where}\n` +
      `export const d${i}: T${i} = ${JSON.stringify(object, null, 1)};\n`;
  });
  const file = path.join(HERE, "rendered.ts"), project = path.join(HERE, "rendered.json");
  try {
    writeFileSync(file, lines.join(""));
    writeFileSync(project, JSON.stringify({
      files: ["rendered.ts"],
      compilerOptions: { strict: true, noEmit: true, skipLibCheck: true, types: [],
        target: "es2022", module: "esnext", moduleResolution: "bundler" } }));
    const tsc = spawnSync(process.execPath, [path.join(HERE, "node_modules/typescript/bin/tsc"), "-p", project],
      { encoding: "utf8" });
    if (tsc.status !== 0)
      find("types", tsc.stdout + tsc.stderr);
  } finally {
    rmSync(file, { force: true });
    rmSync(project, { force: true });
  }
}

// ---- What no schema says ------------------------------------------------------------
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const selects = (selector, labels) =>
  selector && Object.keys(selector).length > 0 &&
  Object.entries(selector).every(([key, value]) => labels?.[key] === value);

function checkRestricted(where, pod, container) {
  const security = { ...pod.securityContext, ...container.securityContext };
  expect(security.runAsNonRoot === true, where, "runAsNonRoot is not true");
  expect(security.runAsUser > 0, where, "runs as root");
  expect(["RuntimeDefault", "Localhost"].includes(security.seccompProfile?.type), where, "no seccomp profile");
  expect(security.allowPrivilegeEscalation === false, where, "may escalate its privileges");
  expect(same(security.capabilities, { drop: ["ALL"] }), where, "keeps capabilities");
  expect(security.readOnlyRootFilesystem === true, where, "may write to its root");
  expect(!security.privileged && !pod.hostNetwork && !pod.hostPID && !pod.hostIPC, where, "shares its host's");
  const kinds = ["configMap", "emptyDir", "persistentVolumeClaim", "secret", "projected", "csi"];
  for (const { name, ...source } of pod.volumes ?? [])
    expect(Object.keys(source).every((kind) => kinds.includes(kind)), where, `volume ${name} is not allowed`);
}

const routes = Object.keys(JSON.parse(readFileSync(path.join(TOP, "server/web/openapi.json"), "utf8")).paths);

function checkContainer(where, pod, container) {
  const env = Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value]));
  const help = process.env.HELP ?? "";
  for (const name of Object.keys(env))
    expect(!help || help.includes(`${name}`), where, `the server knows no ${name}`);
  const sleep = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
  const grace = pod.terminationGracePeriodSeconds;
  expect(grace === undefined || grace > sleep + Number(env.CAPSNETD_DRAIN_S ?? 25), where,
    `a grace period of ${grace} s ends before preStop (${sleep} s) and draining (${env.CAPSNETD_DRAIN_S} s)`);
  for (const probe of ["startupProbe", "readinessProbe", "livenessProbe"]) {
    const get = container[probe]?.httpGet;
    expect(routes.includes(get?.path), where, `${probe} asks for ${get?.path}, which is no route`);
    expect(container.ports.some((port) => port.name === get?.port || port.containerPort === get?.port), where,
      `${probe} asks port ${get?.port}`);
  }
  expect(container.image.endsWith(`:${process.env.VERSION}`), where, `${container.image} is not of this version`);
  for (const kind of ["requests", "limits"])
    for (const resource of ["cpu", "memory"])
      expect(container.resources?.[kind]?.[resource], where, `no ${kind} of ${resource}`);
}

function checkTogether(where, objects) {
  const of = (kind) => objects.filter((object) => object.kind === kind);
  const [deployment] = of("Deployment"), template = deployment.spec.template, pod = template.spec;
  const [container] = pod.containers;
  checkRestricted(where, pod, container);
  checkContainer(where, pod, container);
  const hasHpa = of("HorizontalPodAutoscaler").length + of("ScaledObject").length;
  expect(hasHpa === (deployment.spec.replicas === undefined ? 1 : 0), where,
    "replicas must be owned by the Deployment or by one autoscaler");
  for (const object of of("HorizontalPodAutoscaler"))
    expect(object.spec.scaleTargetRef.name === deployment.metadata.name, where, "the HPA scales something else");
  const selectors = [deployment.spec.selector.matchLabels,
    ...of("Service").map((object) => object.spec.selector),
    ...of("PodDisruptionBudget").map((object) => object.spec.selector.matchLabels),
    ...of("NetworkPolicy").map((object) => object.spec.podSelector.matchLabels),
    ...pod.topologySpreadConstraints.map((constraint) => constraint.labelSelector.matchLabels)];
  for (const selector of selectors)
    expect(selects(selector, template.metadata.labels), where, `selector ${JSON.stringify(selector)} misses the pods`);
  for (const monitor of of("ServiceMonitor"))
    expect(selects(monitor.spec.selector.matchLabels, of("Service")[0].metadata.labels), where,
      "the ServiceMonitor misses the Service");
  const ports = container.ports.map((port) => port.name);
  for (const port of [...of("Service")[0].spec.ports.map((p) => p.targetPort),
    ...of("NetworkPolicy")[0].spec.ingress.flatMap((rule) => rule.ports.map((p) => p.port))])
    expect(ports.includes(port), where, `there is no port ${port}`);
  const account = pod.serviceAccountName;
  expect(of("ServiceAccount").some((object) => object.metadata.name === account), where, `no ServiceAccount ${account}`);
}

function checkKserve(where, objects) {
  const runtime = objects.find((object) => object.kind === "ServingRuntime");
  const { predictor } = objects.find((object) => object.kind === "InferenceService").spec;
  const [container] = runtime.spec.containers;
  checkRestricted(where, {}, container);
  checkContainer(where, predictor, container);
  expect(container.name === "kserve-container", where, "KServe looks for kserve-container");
  expect(predictor.model.runtime === runtime.metadata.name, where, "the service names another runtime");
  expect(runtime.spec.supportedModelFormats.some((format) => format.name === predictor.model.modelFormat.name),
    where, "the runtime has no such format");
}

// ---- Differences ---------------------------------------------------------------------
// A list of named things by name: their order is none of a reader's concern.
const named = (list) => Array.isArray(list) && list.length && list.every((item) => item?.name)
  ? Object.fromEntries(list.map((item) => [item.name, item])) : list;

// The paths at which two documents differ, as Kind/path/to/field.
function differences(a, b, at, into) {
  [a, b] = [named(a), named(b)];
  if (same(a, b))
    return into;
  const plain = (x) => x !== null && typeof x === "object";
  if (!plain(a) || !plain(b)) {
    into.push(at);
    return into;
  }
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
    differences(a[key], b[key], `${at}/${key}`, into);
  return into;
}

function checkDifferences(where, base, objects, allowed) {
  const byKind = (list) => Object.fromEntries(list.map((object) => [object.kind, object]));
  const found = differences(byKind(base), byKind(objects), "", []).map((at) => at.slice(1)).sort();
  for (const at of found)
    expect(allowed.includes(at), where, `differs from the base in ${at}`);
  for (const at of allowed)
    expect(found.includes(at), where, `does not differ from the base in ${at}`);
}

// ---- All of it --------------------------------------------------------------------------
const expected = JSON.parse(readFileSync(path.join(HERE, "overlays.json"), "utf8"));
const base = render(path.join(TOP, "deploy/kubernetes/base"));
const sets = [["base", base]];
for (const where of Object.keys(expected)) {
  const [kind, name] = where.split("/");
  sets.push([where, kind === "components" ? renderWithComponent(name)
    : render(path.join(TOP, "deploy/kubernetes", where))]);
  checkDifferences(where, base, sets.at(-1)[1], expected[where]);
}
for (const [where, objects] of sets)
  checkTogether(where, objects);
const kserve = render(path.join(TOP, "deploy/kserve"));
checkKserve("kserve", kserve);
sets.push(["kserve", kserve]);
const documents = sets.flatMap(([where, objects]) => objects.map((object) => [`${where} ${object.kind}`, object]));
for (const [where, object] of documents)
  await checkSchema(where, object);
checkTypes(documents);
console.log(`manifests: ${documents.length} documents of ${sets.length} sets, ${findings.length} findings`);
for (const finding of findings)
  console.log(`  ${finding}`);
process.exit(findings.length ? 1 : 0);
