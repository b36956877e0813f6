/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt at recovery: plan, limits, intent, action, outcome, verification (the picture is in
 * recovery.h). The intent is durable before the action begins and the outcome before anything else
 * does, so that after a crash the journal tells exactly what may have happened.
 *
 * A recoverer's words go into its action's message; status.message and status.reason stay the
 * diagnosis until the end, so that a failed attempt never hides the cause.
 */
#include "chain/recovery.h"

#include "chain/journal.h"

/* From one look to the next: 0.5 s, 1 s, 2 s … */
#define LOOK_FIRST_NS (500 * NS_PER_MS)
#define LOOK_LONGEST_NS (15 * NS_PER_S)
/* How long what a former agent began may take to end, before it counts as stuck for good. */
#define FORMER_WITHIN_NS (60 * NS_PER_S)
#define FORMER_LOOK_NS (100 * NS_PER_MS)

static int act(struct handling *handling);
static int verify_begin(struct handling *handling);
static int verify_look(struct handling *handling);

static bool dry_run(const struct handling *handling)
{
	return handling->pipeline->settings.dry_run || handling->recoverer->dry_run ||
	       (handling->by_hand && handling->by_hand->dry_run);
}

/* What was intended is not done, or was not for the script, which looked for itself. */
static void intent_take_back(struct handling *handling)
{
	governor_forget(handling->pipeline->governor, handling->recoverer->name, handling->subject);
	journal_take_back(handling);
}

/* --- The end of an attempt --- */

static int answer_by_hand(struct handling *handling)
{
	return by_hand_finish(handling, handling->by_hand->result, handling->last_error);
}

/* An end is an end: the phase stays, but the Abnormal tells what a person did to it since. */
static int tell_by_hand(struct handling *handling, const char *words)
{
	char line[1024];

	snprintf(line, sizeof(line), "By hand, %s on %s: %.700s", handling->recoverer->name,
		 journal_target(handling), words ? words : "done");
	return handling_add_message(handling, line);
}

static int attempt_over(struct handling *handling, enum attempt_end end, const char *words)
{
	static const int results[] = {
		[ATTEMPT_NOT_MINE] = -EOPNOTSUPP,
		[ATTEMPT_REFUSED] = -EPERM,
		[ATTEMPT_DRY_RUN] = 0,
		[ATTEMPT_FAILED] = -EIO,
		[ATTEMPT_NOT_VERIFIED] = -ETIME,
		[ATTEMPT_VERIFIED] = 0,
	};

	if (!handling->by_hand)
		return recoverer_chain_go_on(handling, end);
	handling->by_hand->result = results[end];
	if (string_set(&handling->last_error, words) < 0 ||
	    (end != ATTEMPT_NOT_MINE && tell_by_hand(handling, words) < 0))
		return -ENOMEM;
	return handling_commit(handling, NULL, answer_by_hand);
}

/*
 * Merges ANSWER but for the diagnosis; what the recoverer said comes out in ret_words (NULL:
 * nothing new).
 */
static int merge(struct handling *handling, const struct abnormal *answer, char **ret_words)
{
	bool identifiable = handling->abnormal->status.identifiable;
	_cleanup_free_ char *message = NULL, *reason = NULL;

	if (string_set(&message, handling->abnormal->status.message) < 0 ||
	    string_set(&reason, handling->abnormal->status.reason) < 0)
		return -ENOMEM;
	int r = handling_merge(handling, answer);
	if (r < 0)
		return r;
	struct abnormal_status *status = &handling->abnormal->status;
	free(status->reason);
	status->reason = TAKE_PTR(reason);
	status->identifiable = identifiable;
	if (!streq_ptr(status->message, message)) {
		*ret_words = status->message;
		status->message = TAKE_PTR(message);
	}
	return 0;
}

/* --- Plan --- */

static int refuse(struct handling *handling, const char *why)
{
	log_warning("%s: recoverer %s is held back: %s", handling_name(handling),
		    handling->recoverer->name, why);
	handling->pipeline->counts.actions_refused++;
	int r = journal_append(handling, ACTION_REFUSED, why);
	return r < 0 ? r : attempt_over(handling, ATTEMPT_REFUSED, why);
}

/* Every entry and every line more would bring the Abnormal nearer to what can't be kept. */
static int refuse_unwritten(struct handling *handling)
{
	static const char full[] = "the journal of this Abnormal is full";

	log_warning("%s: recoverer %s is held back: %s; delete it, and the next sighting of the "
		    "fault makes a new one",
		    handling_name(handling), handling->recoverer->name, full);
	handling->pipeline->counts.actions_refused++;
	if (!handling->by_hand)
		return attempt_over(handling, ATTEMPT_REFUSED, full);
	handling->by_hand->result = -EPERM;
	return by_hand_finish(handling, -EPERM, full);
}

static int pretend(struct handling *handling, const char *words)
{
	handling->pipeline->counts.actions_dry_run++;
	log_info("%s: dry run: %s would act on %s", handling_name(handling),
		 handling->recoverer->name, journal_target(handling));
	int r = journal_append(handling, ACTION_DRY_RUN, words);
	return r < 0 ? r : attempt_over(handling, ATTEMPT_DRY_RUN, words);
}

static int intend(struct handling *handling, const char *words)
{
	struct governor *governor = handling->pipeline->governor;
	int64_t now_ns = (int64_t)clock_boot(handling->pipeline->options.clock);
	int r = journal_append(handling, ACTION_PENDING, words);

	if (r < 0)
		return r;
	r = governor_note(governor, handling->recoverer->name, handling->subject,
			  handling->recoverer->disturbs == DISTURBS_NONE, now_ns);
	if (r < 0) {
		journal_take_back(handling);
		return r;
	}
	r = handling_commit(handling, NULL, act);
	if (r < 0)
		intent_take_back(handling);
	return r;
}

static int admit(struct handling *handling, const char *words)
{
	const struct pipeline *pipeline = handling->pipeline;
	char why[512];

	if (handling->abnormal->status.actions.count >= JOURNAL_MAXIMUM ||
	    !handling_has_room(handling))
		return refuse_unwritten(handling);
	if (plugin_entry_only_confirms(handling->recoverer)) {
		int r = journal_append(handling, ACTION_DONE, words);

		return r < 0 ? r : verify_begin(handling);
	}
	if (governor_check(pipeline->governor, handling->recoverer, handling->subject,
			   pipeline->settings.actions_per_hour,
			   (int64_t)clock_boot(pipeline->options.clock), why, sizeof(why)) < 0)
		return refuse(handling, why);
	return dry_run(handling) ? pretend(handling, words) : intend(handling, words);
}

static int plan_failed(struct handling *handling, const char *error)
{
	int r = handling_note_error(handling, CONTEXT_RECOVERY_ERRORS, "recoverer",
				    handling->recoverer->name, error ? error : "it gave no reason");

	return r < 0 ? r : attempt_over(handling, ATTEMPT_FAILED, error);
}

static int not_mine(struct handling *handling, const char *explanation)
{
	const char *why = explanation ? explanation : "the recoverer says that this is not for it";

	log_debug("%s: not for recoverer %s: %s", handling_name(handling),
		  handling->recoverer->name, why);
	int r = handling_note_declined(handling, handling->recoverer->name, explanation);
	return r < 0 ? r : attempt_over(handling, ATTEMPT_NOT_MINE, why);
}

static int planned(struct handling *handling, struct call_result *result)
{
	_cleanup_free_ char *words = NULL;
	int r;

	switch (result->verdict) {
	case CALL_NOT_MINE:
		return not_mine(handling, result->explanation);
	case CALL_ERROR:
		return plan_failed(handling, result->error);
	case CALL_RECOGNISED:
		break;
	}
	r = merge(handling, result->answer, &words);
	if (r == -EFBIG)
		return plan_failed(handling, "its plan would make the Abnormal too large");
	if (r < 0)
		return r;
	handling->abnormal->status.recoverable = true;
	return admit(handling, words);
}

static void attempt_begin(struct handling *handling, struct plugin_entry *entry)
{
	struct plugin_entry *previous = handling->recoverer;

	handling->recoverer = plugin_entry_ref(entry);
	if (previous)
		plugin_entry_unref(previous);
	free(TAKE_PTR(handling->last_error));
	free(TAKE_PTR(handling->not_yet));
}

int recovery_attempt(struct handling *handling, struct plugin_entry *entry)
{
	attempt_begin(handling, entry);
	if (entry->can_plan)
		return handling_call(handling, entry, STEP_PLAN, planned);
	return admit(handling, NULL);
}

/* --- Recover --- */

static int acted(struct handling *handling, struct call_result *result)
{
	_cleanup_free_ char *words = NULL;
	char text[1200];
	int r;

	switch (result->verdict) {
	case CALL_RECOGNISED:
		r = merge(handling, result->answer, &words);
		if (r == 0 || r == -EFBIG)
			r = journal_finish(handling, ACTION_DONE, words);
		handling->abnormal->status.recoverable = true;
		return r < 0 ? r : handling_commit(handling, NULL, verify_begin);
	case CALL_NOT_MINE:
		if (!handling->recoverer->can_plan) {
			intent_take_back(handling);
			return not_mine(handling, result->explanation);
		}
		snprintf(text, sizeof(text),
			 "the target is no longer the one planned; nothing was done%s%s",
			 result->explanation ? ": " : "",
			 result->explanation ? result->explanation : "");
		governor_forget(handling->pipeline->governor, handling->recoverer->name,
				handling->subject);
		r = journal_finish(handling, ACTION_REFUSED, text);
		return r < 0 ? r
			     : attempt_over(handling, ATTEMPT_REFUSED,
					    journal_last(handling)->message);
	case CALL_ERROR:
		break;
	}
	log_warning("%s: recoverer %s failed: %s", handling_name(handling),
		    handling->recoverer->name, result->error ? result->error : "it gave no reason");
	r = journal_finish(handling, ACTION_FAILED, result->error);
	return r < 0 ? r : attempt_over(handling, ATTEMPT_FAILED, result->error);
}

/* The intent is durable. */
static int act(struct handling *handling)
{
	if (handling->cleared && !handling->by_hand) {
		intent_take_back(handling);
		return handling_take_cleared(handling);
	}
	log_info("%s: %s acts on %s", handling_name(handling), handling->recoverer->name,
		 journal_last(handling)->target);
	return handling_call(handling, handling->recoverer, STEP_RECOVER, acted);
}

/* --- Verify --- */

/* Somebody else than the recoverer can tell whether the fault is gone. */
static bool has_detector(const struct handling *handling)
{
	return handling->abnormal->spec.source == SOURCE_KERNEL_EVENT;
}

/* That the detector sees the fault no more is enough, unless the recoverer knows of more to prove. */
static bool is_over(const struct handling *handling)
{
	const struct plugin *builtin = handling->recoverer->builtin;

	return handling->cleared && !(builtin && builtin->verify_decides);
}

static int verified(struct handling *handling, const char *words)
{
	struct action *action = journal_last(handling);
	int r = 0;

	action->verification = VERIFICATION_VERIFIED;
	if (action->outcome == ACTION_PENDING)
		r = journal_finish(
			handling, ACTION_DONE,
			"the agent was restarted while this was done, and its effect is there");
	if (r == 0)
		r = journal_say(action, words);
	return r < 0 ? r : attempt_over(handling, ATTEMPT_VERIFIED, action->message);
}

static int not_verified(struct handling *handling, const char *why)
{
	struct action *action = journal_last(handling);
	int r = 0;

	log_warning("%s: the effect of %s is not proven: %s", handling_name(handling),
		    action->recoverer, why);
	action->verification = VERIFICATION_NOT_VERIFIED;
	if (action->outcome == ACTION_PENDING)
		r = journal_finish(
			handling, ACTION_UNKNOWN,
			"the agent was restarted while this was done; it is not run a second time");
	if (r == 0)
		r = journal_say(action, why);
	return r < 0 ? r : attempt_over(handling, ATTEMPT_NOT_VERIFIED, action->message);
}

static int time_is_over(struct handling *handling)
{
	char within[TIME_TEXT_SIZE], why[512];

	duration_format(handling->recoverer->verify_within_ns, within);
	if (handling->last_error)
		snprintf(why, sizeof(why), "it could not be verified within %s: %.400s", within,
			 handling->last_error);
	else
		snprintf(why, sizeof(why), "the fault was still there %s later%s%.400s", within,
			 handling->not_yet ? ": " : "", handling->not_yet ? handling->not_yet : "");
	return not_verified(handling, why);
}

static int look_later(struct handling *handling)
{
	uint64_t now_ns = clock_monotonic(handling->pipeline->options.clock);
	uint64_t delay_ns = MIN(LOOK_FIRST_NS << MIN(handling->looks, 10u), LOOK_LONGEST_NS);

	if (now_ns >= handling->verify_until_ns)
		return time_is_over(handling);
	handling->looks++;
	delay_ns = MIN(delay_ns, handling->verify_until_ns - now_ns);
	if (!handling->recoverer->can_verify)
		delay_ns = handling->verify_until_ns - now_ns;
	handling->wake_when_cleared = true;
	return handling_wait(handling, delay_ns, verify_look);
}

static int looked(struct handling *handling, struct call_result *result)
{
	_cleanup_free_ char *words = NULL;
	int r = 0;

	if (result->verdict == CALL_RECOGNISED) {
		r = merge(handling, result->answer, &words);
		return r < 0 && r != -EFBIG ? r : verified(handling, words);
	}
	if (result->verdict == CALL_ERROR || handling->last_error)
		r = string_set(&handling->last_error, result->error);
	if (r == 0)
		r = string_set(&handling->not_yet, result->explanation);
	return r < 0 ? r : is_over(handling) ? verify_look(handling) : look_later(handling);
}

static int verify_look(struct handling *handling)
{
	if (is_over(handling))
		return verified(handling, "the detector no longer sees the fault");
	if (handling->recoverer->can_verify)
		return handling_call(handling, handling->recoverer, STEP_VERIFY, looked);
	return look_later(handling);
}

static int verify_begin(struct handling *handling)
{
	handling->looks = 0;
	handling->verify_until_ns = clock_monotonic(handling->pipeline->options.clock) +
				    handling->recoverer->verify_within_ns;
	if (!handling->recoverer->can_verify && !has_detector(handling))
		return not_verified(
			handling,
			"the recoverer has no verify step and no detector watches this fault: look "
			"yourself whether it is gone, and give the script verify=yes");
	return verify_look(handling);
}

/* --- After a restart --- */

static int outcome_unknown(struct handling *handling, const char *why)
{
	struct action *action = journal_last(handling);
	int r = journal_finish(handling, ACTION_UNKNOWN, why);

	log_warning("%s: whether %s acted before the restart of the agent is unknown: %s",
		    handling_name(handling), action->recoverer, why);
	action->verification = VERIFICATION_NOT_VERIFIED;
	return r < 0 ? r : recoverer_chain_go_on(handling, ATTEMPT_NOT_VERIFIED);
}

static int act_again(struct handling *handling)
{
	int r = journal_say(journal_last(handling), "begun again after a restart of the agent");

	return r < 0 ? r : handling_commit(handling, NULL, act);
}

/* The one look before an idempotent action is run again. */
static int looked_before_acting_again(struct handling *handling, struct call_result *result)
{
	if (result->verdict == CALL_RECOGNISED)
		return looked(handling, result);
	return act_again(handling);
}

static int planned_again(struct handling *handling, struct call_result *result)
{
	if (result->verdict == CALL_RECOGNISED)
		return act_again(handling);
	return outcome_unknown(
		handling,
		"the agent was restarted while this was done, and the recoverer no longer finds "
		"its target");
}

static struct plugin_entry *journalled_recoverer(const struct handling *handling)
{
	struct plugin_entry *entry =
		registry_find(handling->pipeline->options.registry, PLUGIN_RECOVERER,
			      journal_last(handling)->recoverer);

	return entry && !entry->refusal ? entry : NULL;
}

/* What the former agent began was killed with it; judged is only after the last of it has ended. */
static int former_wait(struct handling *handling)
{
	return handling_wait(handling, FORMER_LOOK_NS, recovery_take_up);
}

int recovery_take_up(struct handling *handling)
{
	const struct pipeline *pipeline = handling->pipeline;
	struct plugin_entry *entry = journalled_recoverer(handling);
	bool alone = call_pool_is_alone(pipeline->options.pool);

	if (!alone &&
	    clock_monotonic(pipeline->options.clock) - pipeline->resumed_ns < FORMER_WITHIN_NS)
		return former_wait(handling);
	if (!entry)
		return outcome_unknown(
			handling,
			"the agent was restarted while this was done, and the recoverer is no "
			"longer there");
	attempt_begin(handling, entry);
	if (!alone)
		log_warning("%s: what %s began before the restart of the agent is stuck in the "
			    "kernel and may still happen; it is not begun again",
			    handling_name(handling), entry->name);
	if (!alone || handling->cleared || !entry->idempotent || !entry->enabled ||
	    dry_run(handling))
		return verify_begin(handling);
	if (entry->can_verify)
		return handling_call(handling, entry, STEP_VERIFY, looked_before_acting_again);
	if (entry->can_plan)
		return handling_call(handling, entry, STEP_PLAN, planned_again);
	return act_again(handling);
}

int recovery_verify_again(struct handling *handling)
{
	struct plugin_entry *entry = journalled_recoverer(handling);

	if (!entry) {
		struct action *action = journal_last(handling);

		action->verification = VERIFICATION_NOT_VERIFIED;
		int r = journal_say(action,
				    "the recoverer that could verify it is no longer there");
		return r < 0 ? r : recoverer_chain_go_on(handling, ATTEMPT_NOT_VERIFIED);
	}
	attempt_begin(handling, entry);
	return verify_begin(handling);
}

int recoverer_give_up_unfinished(struct handling *handling)
{
	struct action *action = journal_last(handling);

	if (!action || action->outcome != ACTION_PENDING)
		return 0;
	action->outcome = ACTION_UNKNOWN;
	action->finish_time = clock_realtime(handling->pipeline->options.clock);
	int r = journal_say(action, "started by hand; the agent was restarted while it was done");
	return r < 0 ? r : handling_write_soon(handling);
}

int recoverer_run_by_hand(struct handling *handling)
{
	return recovery_attempt(handling, handling->by_hand->entry);
}
