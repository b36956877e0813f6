/* SPDX-License-Identifier: Apache-2.0 */
/* Climbing down one detector's ladder until a rung holds, and driving its looks. */
#include "detect/slot.h"

#include <fcntl.h>

#define LOOK_ACCURACY_MAX_NS NS_PER_S

void ground_read(struct ground *ground, const struct host *host)
{
	*ground = (struct ground){.host = host};
	ground->capabilities = probe_capabilities(ground->capabilities_reason,
						  sizeof(ground->capabilities_reason));
}

static const struct btf *ground_btf(struct ground *ground)
{
	_cleanup_free_ char *path = NULL;

	if (ground->btf || ground->btf_reason[0])
		return ground->btf;
	if (asprintf(&path, "%s/sys/kernel/btf/vmlinux", ground->host->root) < 0) {
		path = NULL;
		return NULL;
	}
	errno = 0;
	ground->btf = access(path, F_OK) == 0 ? btf__parse(path, NULL) : NULL;
	if (!ground->btf)
		snprintf(ground->btf_reason, sizeof(ground->btf_reason),
			 "the kernel tells no types (%s: %s); it takes one built with "
			 "CONFIG_DEBUG_INFO_BTF=y",
			 path, strerror(errno));
	return ground->btf;
}

void ground_clear(struct ground *ground)
{
	btf__free(ground->btf);
	ground->btf = NULL;
}

size_t hook_count(const struct detector *detector)
{
	size_t count = 0;

	while (detector->hooks[count].name)
		count++;
	return count;
}

/* What a hook that loads BPF programs needs before it is worth asking. */
static int check_ground(const struct detect *detect, struct ground *ground, char *reason,
			size_t size)
{
	if (ground->capabilities < 0) {
		snprintf(reason, size, "%s", ground->capabilities_reason);
		return ground->capabilities;
	}
	if (!ground_btf(ground)) {
		snprintf(reason, size, "%s", ground->btf_reason);
		return -ENOENT;
	}
	if (detect && !detect->ring) {
		snprintf(reason, size, "%s", detect->ring_reason);
		return -EOPNOTSUPP;
	}
	return 0;
}

void hook_probe(const struct hook *hook, const struct detect *detect, struct ground *ground,
		const struct host *host, struct hook_state *state)
{
	int r = 0;

	if (state->probed)
		return;
	state->probed = true;
	state->reason[0] = '\0';
	if (!startswith(hook->name, HOOK_POLL))
		r = check_ground(detect, ground, state->reason, sizeof(state->reason));
	if (r == 0 && hook->probe)
		r = hook->probe(ground_btf(ground), host, state->reason, sizeof(state->reason));
	state->available = r == 0;
	if (r < 0 && !state->reason[0])
		snprintf(state->reason, sizeof(state->reason), "%s", strerror(-r));
}

static void stop_run(struct slot *slot)
{
	const struct detector *detector = slot->run.detector;

	if (!slot->run.state)
		return;
	if (detector->stop)
		detector->stop(&slot->run);
	free(slot->run.state);
	slot->run.state = NULL;
	detector_told(&slot->run);
}

/*
 * What was attached speaks from here on, in place of what a former agent, or other settings, had. A
 * hook without programs has nothing that could outlive it.
 */
static int begin_generation(struct slot *slot)
{
	const struct detector *detector = slot->run.detector;
	struct pins *pins = slot->run.detect->pins;

	if (!pins)
		return 0;
	if (slot->generation)
		return pins_begin_generation(pins, detector->name, detector->event_types,
					     slot->generation);
	pins_unlink(pins, detector->name, 0);
	return 0;
}

/* One rung: probed, then started. On error the hook's state has the reason. */
static int try_hook(struct slot *slot, const struct hook *hook, struct hook_state *state,
		    struct ground *ground)
{
	int r;

	hook_probe(hook, slot->run.detect, ground, slot->run.host, state);
	if (!state->available)
		return -ENOTSUP;
	slot->run.hook = hook;
	slot->generation = 0;
	slot->run.state = calloc(1, MAX(slot->run.detector->state_size, (size_t)1));
	r = slot->run.state ? hook->start(&slot->run, state->reason, sizeof(state->reason))
			    : -ENOMEM;
	if (r == 0)
		r = begin_generation(slot);
	if (r == 0)
		return 0;
	if (!state->reason[0])
		snprintf(state->reason, sizeof(state->reason), "%s", strerror(-r));
	state->available = false;
	stop_run(slot);
	slot->run.hook = NULL;
	return r;
}

void hooks_explain(const struct detector *detector, const struct hook_state *states, char *text,
		   size_t size)
{
	size_t count = hook_count(detector), length = 0;

	*text = '\0';
	for (size_t i = 0; i < count && length < size; i++) {
		if (!states[i].probed || states[i].available)
			continue;
		bool next_same = i + 1 < count && states[i + 1].probed &&
				 !states[i + 1].available &&
				 streq(states[i].reason, states[i + 1].reason);

		length += (size_t)snprintf(text + length, size - length, "%s%s%s%s",
					   detector->hooks[i].name, next_same ? "" : ": ",
					   next_same ? "" : states[i].reason,
					   next_same ? ", " : "; ");
	}
	if (endswith(text, "; "))
		text[strlen(text) - 2] = '\0';
}

static int on_look(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	struct slot *slot = userdata;
	uint64_t begin_ns = clock_monotonic(slot->run.clock);
	uint64_t delay_ns = slot->run.detector->look(&slot->run);

	slot->looks++;
	slot->look_ns += clock_monotonic(slot->run.clock) - begin_ns;
	if (delay_ns > 0)
		detector_look_in(&slot->run, delay_ns);
	return 0;
}

void detector_look_in(struct detector_run *run, uint64_t delay_ns)
{
	struct slot *slot = (struct slot *)run;

	if (!slot->look_timer)
		return;
	/* A tenth late does not matter, and lets the kernel wake us once for several timers. */
	uint64_t accuracy_ns = MIN(delay_ns / 10, LOOK_ACCURACY_MAX_NS);

	sd_event_source_set_time_accuracy(slot->look_timer,
					  MAX(accuracy_ns / NS_PER_US, UINT64_C(1)));
	sd_event_source_set_time_relative(slot->look_timer, delay_ns / NS_PER_US);
	sd_event_source_set_enabled(slot->look_timer, SD_EVENT_ONESHOT);
}

static int start_looks(struct slot *slot)
{
	sd_event *event = slot->run.detect->options.event;

	if (!slot->run.detector->look || !event)
		return 0;
	int r = sd_event_add_time_relative(event, &slot->look_timer, CLOCK_MONOTONIC, 0, 1, on_look,
					   slot);

	if (r < 0)
		return r;
	sd_event_source_set_description(slot->look_timer, slot->run.detector->name);
	return sd_event_source_set_enabled(slot->look_timer, SD_EVENT_ONESHOT);
}

/* Says why it stands where it does; nothing when that is the place to be. */
static void explain(struct slot *slot)
{
	const struct hook *hook = slot->run.hook;
	char missing[REASON_SIZE];

	hooks_explain(slot->run.detector, slot->hooks, missing, sizeof(missing));
	if (!hook)
		snprintf(slot->reason, sizeof(slot->reason), "%s%s",
			 slot->settings.hook
				 ? "the only hook that the configuration allows cannot be used: "
				 : "",
			 missing);
	else if (hook->degraded)
		snprintf(slot->reason, sizeof(slot->reason), "%s%s%s", hook->shortfall,
			 slot->settings.hook ? ". This hook was asked for in the configuration"
			 : missing[0]	     ? ". Better hooks cannot be used: "
					     : "",
			 slot->settings.hook ? "" : missing);
	else
		slot->reason[0] = '\0';
}

/* Tries the rungs in order, or the one that is forced. */
static void climb_down(struct slot *slot, struct ground *ground)
{
	const struct detector *detector = slot->run.detector;

	slot->status = DETECTOR_UNSUPPORTED;
	for (size_t i = 0; i < hook_count(detector); i++) {
		const struct hook *hook = &detector->hooks[i];

		if (slot->settings.hook && slot->settings.hook != hook)
			continue;
		hook_probe(hook, slot->run.detect, ground, slot->run.host, &slot->hooks[i]);
		/* libbpf reads the node's BTF for itself; two at once would be our highest peak. */
		ground_clear(ground);
		if (try_hook(slot, hook, &slot->hooks[i], ground) < 0)
			continue;
		if (start_looks(slot) < 0) {
			snprintf(slot->hooks[i].reason, REASON_SIZE,
				 "the event loop takes no more timers");
			slot->hooks[i].available = false;
			stop_run(slot);
			slot->run.hook = NULL;
			continue;
		}
		slot->started = true;
		slot->status = hook->degraded ? DETECTOR_DEGRADED : DETECTOR_ACTIVE;
		break;
	}
	explain(slot);
}

int slot_start(struct slot *slot, const cJSON *configured, struct ground *ground)
{
	struct problem problem = {};
	char line[sizeof(problem.field) + sizeof(problem.text) + 4];

	slot->reason[0] = '\0';
	cJSON_Delete(slot->configured);
	slot->configured = configured ? cJSON_Duplicate(configured, true) : NULL;
	if (configured && !slot->configured)
		return -ENOMEM;
	int r = detector_settings_read(slot->run.detector, configured, &slot->settings, &problem);

	if (r < 0) {
		slot->status = DETECTOR_DISABLED;
		snprintf(slot->reason, sizeof(slot->reason), "its settings are wrong: %s",
			 problem_line(&problem, line, sizeof(line)));
		return r == -ENOMEM ? r : 0;
	}
	slot->run.settings = slot->settings.own;
	if (!slot->settings.enabled) {
		slot->status = DETECTOR_DISABLED;
		snprintf(slot->reason, sizeof(slot->reason), "disabled in the configuration");
	} else {
		climb_down(slot, ground);
	}
	if (!slot->started && slot->run.detect->pins)
		pins_unlink(slot->run.detect->pins, slot->run.detector->name, 0);
	return 0;
}

void slot_stop(struct slot *slot)
{
	slot->look_timer = sd_event_source_disable_unref(slot->look_timer);
	stop_run(slot);
	slot->started = false;
	slot->run.hook = NULL;
	slot->run.settings = NULL;
	detector_settings_clear(slot->run.detector, &slot->settings);
	/* What a hook said when it was tried with other settings is asked again. */
	memset(slot->hooks, 0, hook_count(slot->run.detector) * sizeof(*slot->hooks));
}

uint64_t slot_lost(const struct slot *slot)
{
	const uint16_t *type = slot->run.detector->event_types;
	const struct ring *ring = slot->run.detect->ring;
	uint64_t sum = slot->run.lost;

	for (; ring && type && *type != EVENT_NONE; type++)
		sum += ring_lost(ring, *type);
	return sum;
}
