/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lifeboat top: what is happening now, drawn anew each second; once when the output is no terminal.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "cli/cli.h"
#include "cli/rows.h"
#include "cli/top_model.h"
#include "host/pressure.h"

#define SECOND_MS 1000
#define ALTERNATE_ON "\033[?1049h\033[?25l"
#define ALTERNATE_OFF "\033[?25h\033[?1049l"

/* What is asked for anew each time; Abnormals come by the watch. */
static int refresh(struct top_model *model, const struct host *host, struct problem *problem)
{
	_cleanup_json_ cJSON *status = NULL, *list = NULL;

	int r = client_call("GET", "/api/v1/status", NULL, NULL, &status, problem);
	if (r == 0)
		r = client_call("GET", "/api/v1/detectors", NULL, NULL, &list, problem);
	if (r < 0)
		return r;
	cJSON_Delete(model->status);
	cJSON_Delete(model->detectors);
	cJSON_Delete(model->pressure);
	model->status = TAKE_PTR(status);
	model->detectors = cJSON_DetachItemFromObjectCaseSensitive(list, "items");
	model->pressure = host ? pressure_node(host) : NULL;
	return 0;
}

static int show_once(struct top_model *model, const struct host *host)
{
	_cleanup_json_ cJSON *list = NULL;
	struct terminal terminal = terminal_of(stdout);
	struct problem problem = {0};

	int r = refresh(model, host, &problem);
	if (r == 0)
		r = client_call("GET", "/api/v1/abnormals", NULL, NULL, &list, &problem);
	if (r < 0)
		return report_error(r, &problem);
	cJSON *items = json_at(list, "items");
	while (r == 0 && items && items->child)
		r = top_model_change(model, "ADDED",
				     cJSON_DetachItemViaPointer(items, items->child));
	if (r == 0)
		r = top_model_print(model, &terminal, clock_realtime(clock_system()));
	return r == 0 ? EXIT_OK : report_text(EXIT_ERROR, "out of memory");
}

/* One picture over the one before: nothing is cleared first, so nothing flickers. */
static int draw(const struct top_model *model)
{
	struct terminal terminal = terminal_of(stdout);
	_cleanup_free_ char *frame = NULL;
	struct winsize size = {0};
	size_t length, lines = 0;

	FILE *memory = open_memstream(&frame, &length);
	if (!memory)
		return -ENOMEM;
	terminal.out = memory;
	int r = top_model_print(model, &terminal, clock_realtime(clock_system()));
	fclose(memory);
	if (r < 0 || !frame)
		return -ENOMEM;
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	fputs("\033[H", stdout);
	for (const char *line = frame; *line && (!size.ws_row || ++lines < size.ws_row);) {
		size_t end = strcspn(line, "\n");

		/* Long lines are cut by the terminal, not wrapped. */
		printf("\033[?7l%.*s\033[K\033[?7h\r\n", (int)end, line);
		line += end + (line[end] == '\n');
	}
	fputs("\033[J", stdout);
	fflush(stdout);
	return 0;
}

/* Takes what the watch has brought. Returns 0, or a negative errno when it is over, which PROBLEM tells. */
static int take_changes(struct top_model *model, struct client_lines *lines,
			struct problem *problem)
{
	for (;;) {
		_cleanup_json_ cJSON *change = NULL;

		int r = client_lines_next(lines, 0, &change, problem);
		if (r < 0)
			return r == -ETIMEDOUT ? 0 : r;
		const char *type = json_string(change, "type");
		if (!type)
			continue;
		r = top_model_change(model, type,
				     cJSON_DetachItemFromObjectCaseSensitive(change, "object"));
		if (r < 0)
			return r;
	}
}

/* Returns true if the user wants to leave. */
static bool wants_to_leave(int signals)
{
	struct signalfd_siginfo info;
	char key;

	if (read(signals, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGWINCH)
		return true;
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	while (poll(&input, 1, 0) > 0) {
		if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == 3)
			return true;
	}
	return false;
}

/* Until the user leaves (0), or an error. */
static int live(struct top_model *model, const struct host *host, int signals,
		struct problem *problem)
{
	_cleanup_lines_ struct client_lines lines = {0};
	uint64_t next_ns = 0;

	int r = client_lines_open("/api/v1/abnormals?watch=true", &lines, problem);
	while (r == 0) {
		uint64_t now_ns = clock_monotonic(clock_system());
		struct pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN},
					  {.fd = client_fd(lines.client), .events = POLLIN},
					  {.fd = signals, .events = POLLIN}};

		r = take_changes(model, &lines, problem);
		if (r == 0 && now_ns >= next_ns) {
			r = refresh(model, host, problem);
			next_ns = now_ns + SECOND_MS * NS_PER_MS;
		}
		if (r == 0)
			r = draw(model);
		if (r < 0)
			break;
		uint64_t left_ms = (next_ns - now_ns) / NS_PER_MS + 1;
		(void)poll(polled, ARRAY_SIZE(polled), (int)MIN(left_ms, (uint64_t)SECOND_MS));
		if (wants_to_leave(signals))
			return 0;
	}
	return r;
}

static int show_live(struct top_model *model, const struct host *host)
{
	struct problem problem = {0};
	struct termios before, raw;
	sigset_t set, old;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, &old);
	_cleanup_close_ int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || tcgetattr(STDIN_FILENO, &before) < 0)
		return report_text(EXIT_ERROR, "cannot set up the terminal: %s", strerror(errno));
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs(ALTERNATE_ON, stdout);
	int r = live(model, host, signals, &problem);
	fputs(ALTERNATE_OFF, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r < 0 ? report_error(r, &problem) : EXIT_OK;
}

static int top_run(int argc, char **argv)
{
	static const struct option longs[] = {{"once", no_argument, NULL, '1'}, GLOBAL_OPTIONS};
	struct options options = OPTIONS("1", longs);
	_cleanup_(top_model_clear) struct top_model model = {0};
	_cleanup_host_ struct host *host = NULL;
	bool once = !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO);
	int c;

	while ((c = options_next(&options)) >= 0)
		once = true;
	if (c == OPTION_EXIT)
		return options.exit_status;
	if (top_model_start(&model) < 0)
		return report_text(EXIT_ERROR, "out of memory");
	/* Without /proc/pressure the rest is shown all the same. */
	if (host_open(NULL, &host) < 0)
		host = NULL;
	return once ? show_once(&model, host) : show_live(&model, host);
}

COMMAND(top) = {
	.name = "top",
	.arguments = "[--once]",
	.summary = "Show what is happening now",
	.help = "  -1, --once           print one picture and end (as when the output is no "
		"terminal)\n\n"
		"Pressure, live Abnormals, those that ended last, detectors with their events and "
		"losses. q ends it.\n",
	.group = GROUP_LOOK,
	.run = top_run,
};
