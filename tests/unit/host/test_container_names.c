/* SPDX-License-Identifier: Apache-2.0 */
/* What each runtime writes down of its containers, and where. */
#include "fake_root.h"

#include "host/container_names.h"

#define ID "3f4e8c1b2a7d9e0f1c2b3a495867d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9"
#define SANDBOX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define UID "8a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
#define UID_ "8a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9"
#define TASKS "run/containerd/io.containerd.runtime.v2.task/"

/* As runtimes write it: numbers beyond 2^53, escapes, empty and null members. */
#define CONFIG(annotations, cgroup)                                                                \
	"{\"ociVersion\":\"1.0.2-dev\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},"               \
	"\"args\":[\"sh\",\"-c\",\"a \\u0026\\u0026 b \\u003e /dev/null\"],\"env\":[\"A=\","       \
	"\"TEXT=\\u00fc \\ud83d\\ude80 \\ufffd\\t\"],\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\","    \
	"\"hard\":18446744073709551615,\"soft\":1024}],\"capabilities\":{},\"oomScoreAdj\":-998}," \
	"\"root\":{\"path\":\"rootfs\"},\"hostname\":\"\",\"mounts\":[],\"hooks\":{},"             \
	"\"annotations\":{" annotations "},\"linux\":{\"cgroupsPath\":\"" cgroup "\","             \
	"\"resources\":{\"memory\":{\"limit\":-1,\"swap\":9223372036854775807},\"devices\":"       \
	"[{\"allow\":false,\"access\":\"rwm\"}]},\"seccomp\":null}}"

#define CRI(type)                                            \
	"\"io.kubernetes.cri.container-type\":\"" type "\"," \
	"\"io.kubernetes.cri.sandbox-id\":\"" SANDBOX "\","  \
	"\"io.kubernetes.cri.sandbox-name\":\"cart-1\","     \
	"\"io.kubernetes.cri.sandbox-namespace\":\"shop\","  \
	"\"io.kubernetes.cri.sandbox-log-directory\":\"/var/log/pods\""
#define CRI_NAMES                                        \
	",\"io.kubernetes.cri.container-name\":\"web\"," \
	"\"io.kubernetes.cri.image-name\":\"docker.io/library/nginx:1.25\""

static void expect(const char *what, const char *is, const char *should)
{
	if (!streq_ptr(is, should))
		fail_msg("%s is %s and should be %s", what, is ? is : "(none)",
			 should ? should : "(none)");
}

static void find(const struct fake_root *root, const char *id, bool may_block,
		 struct container_names *names)
{
	int r = container_names_find(root->host, id, may_block, names);

	if (r < 0)
		fail_msg("container %s: %s", id, strerror(-r));
	expect("id", names->id, id);
}

static void containerd_names_pod_and_container(void **state)
{
	static const char *const states[] = {"run/containerd", "run/k3s/containerd",
					     "run/k0s/containerd"};
	static const char *const kinds[] = {"io.containerd.runtime.v2.task",
					    "io.containerd.runtime.v1.linux"};
	const struct fake_root *root = *state;
	char id[65], path[512];

	for (size_t i = 0; i < ARRAY_SIZE(states) * ARRAY_SIZE(kinds); i++) {
		_cleanup_container_names_ struct container_names names = {0};

		snprintf(id, sizeof(id), "%064zx", i + 1);
		snprintf(path, sizeof(path), "%s/%s/k8s.io/%s/config.json", states[i / 2],
			 kinds[i % 2], id);
		fake_file(root, path, "%s",
			  CONFIG(CRI("container") CRI_NAMES
				 ",\"io.kubernetes.cri.sandbox-uid\":\"" UID "\"",
				 "kubepods-burstable-pod" UID_ ".slice:cri-containerd:" ID));
		find(root, id, false, &names);
		expect("runtime", names.runtime, "containerd");
		expect("pod", names.pod, "cart-1");
		expect("pod uid", names.pod_uid, UID);
		expect("namespace", names.namespace, "shop");
		expect("name", names.name, "web");
		expect("image", names.image, "docker.io/library/nginx:1.25");
		expect("sandbox", names.sandbox, SANDBOX);
		expect("cgroup", names.cgroup, NULL);
		assert_false(names.is_sandbox);
		*strrchr(path, '/') = '\0';
		expect("bundle", names.bundle + 1, path);
	}
}

static void a_sandbox_has_a_pod_and_no_name(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;

	fake_file(root, TASKS "k8s.io/" SANDBOX "/config.json", "%s",
		  CONFIG(CRI("sandbox"), "/kubepods/burstable/pod" UID "/" SANDBOX));
	find(root, SANDBOX, false, &names);
	assert_true(names.is_sandbox);
	expect("pod", names.pod, "cart-1");
	expect("name", names.name, NULL);
	/* containerd before 1.7 does not say it; its cgroup path does */
	expect("pod uid", names.pod_uid, UID);
	expect("cgroup", names.cgroup, "/kubepods/burstable/pod" UID "/" SANDBOX);
}

static void plain_ctr_and_nerdctl_have_no_pod(void **state)
{
	_cleanup_container_names_ struct container_names ctr = {0}, nerdctl = {0};
	const struct fake_root *root = *state;

	fake_file(root, TASKS "batch/job-7/config.json", "%s", CONFIG("", "/batch/job-7"));
	fake_file(root, TASKS "default/" ID "/config.json", "%s",
		  CONFIG("\"nerdctl/name\":\"web\",\"nerdctl/namespace\":\"default\"",
			 "system.slice:nerdctl:" ID));
	find(root, "job-7", false, &ctr);
	expect("runtime", ctr.runtime, "containerd");
	expect("pod", ctr.pod, NULL);
	expect("namespace", ctr.namespace, NULL);
	expect("cgroup", ctr.cgroup, "/batch/job-7");
	find(root, ID, false, &nerdctl);
	expect("name", nerdctl.name, "web");
	expect("pod", nerdctl.pod, NULL);
}

static void a_name_in_two_namespaces_is_not_guessed(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;

	fake_file(root, TASKS "one/web/config.json", "%s", CONFIG("", "/one/web"));
	fake_file(root, TASKS "two/web/config.json", "%s", CONFIG("", "/two/web"));
	assert_int_equal(container_names_find(root->host, "web", false, &names), -ENOTUNIQ);
	assert_null(names.id);
}

#define CRIO(type, name)                                                                       \
	"\"io.container.manager\":\"cri-o\",\"io.kubernetes.cri-o.ContainerID\":\"" ID "\","   \
	"\"io.kubernetes.cri-o.ContainerType\":\"" type "\","                                  \
	"\"io.kubernetes.cri-o.SandboxID\":\"" SANDBOX "\","                                   \
	"\"io.kubernetes.cri-o.Name\":\"k8s_" name "_cart-1_shop_" UID "_0\","                 \
	"\"io.kubernetes.cri-o.Metadata\":\"{\\\"name\\\":\\\"" name "\\\"}\","                \
	"\"io.kubernetes.cri-o.Image\":\"registry/nginx:1.25\","                               \
	"\"io.kubernetes.container.name\":\"" name "\",\"io.kubernetes.pod.name\":\"cart-1\"," \
	"\"io.kubernetes.pod.namespace\":\"shop\",\"io.kubernetes.pod.uid\":\"" UID "\""

static void crio_names_pod_and_container(void **state)
{
	_cleanup_container_names_ struct container_names names = {0}, sandbox = {0};
	const struct fake_root *root = *state;

	fake_file(
		root, "run/containers/storage/overlay-containers/" ID "/userdata/config.json", "%s",
		CONFIG(CRIO("container", "web"), "kubepods-burstable-pod" UID_ ".slice:crio:" ID));
	fake_file(root,
		  "run/containers/storage/overlay-containers/" SANDBOX "/userdata/config.json",
		  "%s",
		  CONFIG(CRIO("sandbox", "POD") ",\"io.kubernetes.cri-o.KubeName\":\"cart-1\","
						"\"io.kubernetes.cri-o.Namespace\":\"shop\"",
			 "kubepods-burstable-pod" UID_ ".slice:crio:" SANDBOX));
	find(root, ID, false, &names);
	expect("runtime", names.runtime, "cri-o");
	expect("pod", names.pod, "cart-1");
	expect("pod uid", names.pod_uid, UID);
	expect("namespace", names.namespace, "shop");
	expect("name", names.name, "web");
	expect("image", names.image, "registry/nginx:1.25");
	expect("sandbox", names.sandbox, SANDBOX);
	find(root, SANDBOX, false, &sandbox);
	assert_true(sandbox.is_sandbox);
	expect("pod", sandbox.pod, "cart-1");
	expect("name", sandbox.name, NULL);
}

/* CRI-O hands on all annotations of a pod, which whoever makes the pod writes. */
static void annotations_of_another_runtime_are_not_believed(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;

	fake_file(
		root, "run/containers/storage/overlay-containers/" ID "/userdata/config.json", "%s",
		CONFIG(CRIO("container", "web") ","
						"\"io.kubernetes.cri.sandbox-name\":\"bank-0\","
						"\"io.kubernetes.cri.container-type\":\"sandbox\"",
		       "kubepods-pod" UID_ ".slice:crio:" ID));
	find(root, ID, false, &names);
	expect("pod", names.pod, "cart-1");
	assert_false(names.is_sandbox);
}

/* They come after the sandbox's own, and before the kubelet's labels. */
static void a_pod_cannot_call_itself_another_pod(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;

	fake_file(root,
		  "run/containers/storage/overlay-containers/" SANDBOX "/userdata/config.json",
		  "%s",
		  CONFIG("\"io.kubernetes.cri-o.ContainerID\":\"" SANDBOX "\","
			 "\"io.kubernetes.cri-o.KubeName\":\"bank-0\","
			 "\"io.kubernetes.cri-o.Namespace\":\"money\","
			 "\"io.container.manager\":\"libpod\","
			 "\"io.kubernetes.pod.name\":\"cart-1\","
			 "\"io.kubernetes.pod.namespace\":\"shop\"",
			 "kubepods-burstable-pod" UID_ ".slice:crio:" SANDBOX));
	find(root, SANDBOX, false, &names);
	expect("runtime", names.runtime, "cri-o");
	expect("pod", names.pod, "cart-1");
	expect("namespace", names.namespace, "shop");
}

/* A container with CAP_MKNOD can make one in a volume that the node sees too. */
static void what_is_no_regular_file_is_not_opened(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;
	char path[PATH_MAX];

	fake_file(root, "secret.json", "%s", CONFIG("", "/default/web"));
	fake_folder(root, TASKS "default/linked");
	fake_link(root, TASKS "default/linked/config.json", "../../../../../secret.json");
	fake_folder(root, TASKS "default/fifo");
	snprintf(path, sizeof(path), "%s/" TASKS "default/fifo/config.json", root->path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(container_names_read(root->host, "/" TASKS "default/linked", &names),
			 -ELOOP);
	assert_int_equal(container_names_read(root->host, "/" TASKS "default/fifo", &names),
			 -ENXIO);
}

#define DOCKER_FILE "var/lib/docker/containers/" ID "/config.v2.json"

static void docker_names_are_on_disk(void **state)
{
	_cleanup_container_names_ struct container_names quick = {0}, whole = {0};
	const struct fake_root *root = *state;

	fake_file(root,
		  "run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/" ID
		  "/config.json",
		  "%s", CONFIG("", "/docker/" ID));
	fake_file(root, DOCKER_FILE,
		  "{\"ID\":\"" ID "\",\"Name\":\"/shop_db\",\"Config\":{\"Image\":\"mysql:8\","
		  "\"Labels\":{}}}");
	find(root, ID, false, &quick);
	expect("runtime", quick.runtime, "docker");
	expect("name", quick.name, NULL);
	find(root, ID, true, &whole);
	expect("runtime", whole.runtime, "docker");
	expect("name", whole.name, "shop_db");
	expect("image", whole.image, "mysql:8");
	expect("pod", whole.pod, NULL);
	expect("cgroup", whole.cgroup, "/docker/" ID);
}

static void cri_dockerd_names_the_pod(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;

	fake_file(root, DOCKER_FILE,
		  "{\"Name\":\"/k8s_web_cart-1_shop_" UID "_0\",\"Config\":{\"Image\":\"nginx\","
		  "\"Labels\":{\"io.kubernetes.docker.type\":\"container\","
		  "\"io.kubernetes.container.name\":\"web\",\"io.kubernetes.pod.name\":\"cart-1\","
		  "\"io.kubernetes.pod.namespace\":\"shop\",\"io.kubernetes.pod.uid\":\"" UID "\","
		  "\"io.kubernetes.sandbox.id\":\"" SANDBOX "\"}}}");
	find(root, ID, true, &names);
	expect("runtime", names.runtime, "docker");
	expect("pod", names.pod, "cart-1");
	expect("pod uid", names.pod_uid, UID);
	expect("name", names.name, "web");
	expect("sandbox", names.sandbox, SANDBOX);
	assert_int_equal(container_names_find(root->host, ID, false, &names), -ENOENT);
}

static void podman_names_are_on_disk(void **state)
{
	_cleanup_container_names_ struct container_names names = {0}, brief = {0};
	const struct fake_root *root = *state;

	fake_file(root, "var/lib/containers/storage/overlay-containers/" ID "/userdata/config.json",
		  "%s", CONFIG("\"io.container.manager\":\"libpod\"", "machine.slice:libpod:" ID));
	fake_file(root, "var/lib/containers/storage/overlay-containers/containers.json",
		  "[{\"id\":\"" SANDBOX "\",\"names\":[\"other\"]},{\"id\":\"" ID
		  "\",\"names\":[\"web\"],\"metadata\":\"{\\\"image-name\\\":"
		  "\\\"docker.io/library/nginx:1.25\\\",\\\"name\\\":\\\"web\\\"}\"}]");
	fake_file(root, "run/containers/storage/overlay-containers/volatile-containers.json",
		  "[{\"id\":\"%064x\",\"names\":[\"brief\"],\"metadata\":\"\"}]", 7);
	find(root, ID, true, &names);
	expect("runtime", names.runtime, "podman");
	expect("name", names.name, "web");
	expect("image", names.image, "docker.io/library/nginx:1.25");
	expect("pod", names.pod, NULL);
	find(root, "0000000000000000000000000000000000000000000000000000000000000007", true,
	     &brief);
	expect("name", brief.name, "brief");
	expect("runtime", brief.runtime, "podman");
}

static void what_is_no_configuration_is_told_apart(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;
	char path[PATH_MAX];

	fake_file(root, "b/half/config.json", "{\"ociVersion\":\"1.0.2\",\"proc");
	fake_file(root, "b/other/config.json", "{\"version\":2}");
	fake_file(root, "b/list/config.json", "[]");
	fake_folder(root, "b/empty");
	fake_file(root, "b/huge/config.json", "%s", "");
	snprintf(path, sizeof(path), "%s/b/huge/config.json", root->path);
	assert_int_equal(truncate(path, 5 * 1024 * 1024), 0);
	assert_int_equal(container_names_read(root->host, "/b/half", &names), -EBADMSG);
	assert_int_equal(container_names_read(root->host, "/b/other", &names), -EBADMSG);
	assert_int_equal(container_names_read(root->host, "/b/list", &names), -EBADMSG);
	assert_int_equal(container_names_read(root->host, "/b/empty", &names), -ENOENT);
	assert_int_equal(container_names_read(root->host, "/b/nowhere", &names), -ENOENT);
	assert_int_equal(container_names_read(root->host, "/b/huge", &names), -EFBIG);
}

static void names_may_be_printed_whoever_chose_them(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;
	char long_name[1001];

	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	fake_file(root, TASKS "default/odd/config.json",
		  "{\"ociVersion\":\"1\",\"annotations\":{\"nerdctl/name\":\"a\\u001b[31m\\nb\","
		  "\"io.kubernetes.cri.sandbox-name\":\"%s\",\"io.kubernetes.cri.image-name\":7}}",
		  long_name);
	find(root, "odd", false, &names);
	expect("name", names.name, "a?[31m?b");
	assert_int_equal(strlen(names.pod), 253);
	expect("image", names.image, NULL);
}

static void an_id_is_no_path(void **state)
{
	_cleanup_container_names_ struct container_names names = {0};
	const struct fake_root *root = *state;

	fake_file(root, TASKS "default/web/config.json", "%s", CONFIG("", "/default/web"));
	assert_int_equal(container_names_find(root->host, "../default/web", true, &names), -ENOENT);
	assert_int_equal(container_names_find(root->host, "..", true, &names), -ENOENT);
	assert_int_equal(container_names_find(root->host, ".", true, &names), -ENOENT);
	assert_int_equal(container_names_find(root->host, "", true, &names), -ENOENT);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, fake_root_setup, fake_root_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROOT(containerd_names_pod_and_container),
		WITH_ROOT(a_sandbox_has_a_pod_and_no_name),
		WITH_ROOT(plain_ctr_and_nerdctl_have_no_pod),
		WITH_ROOT(a_name_in_two_namespaces_is_not_guessed),
		WITH_ROOT(crio_names_pod_and_container),
		WITH_ROOT(annotations_of_another_runtime_are_not_believed),
		WITH_ROOT(a_pod_cannot_call_itself_another_pod),
		WITH_ROOT(what_is_no_regular_file_is_not_opened),
		WITH_ROOT(docker_names_are_on_disk),
		WITH_ROOT(cri_dockerd_names_the_pod),
		WITH_ROOT(podman_names_are_on_disk),
		WITH_ROOT(what_is_no_configuration_is_told_apart),
		WITH_ROOT(names_may_be_printed_whoever_chose_them),
		WITH_ROOT(an_id_is_no_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
