/* SPDX-License-Identifier: Apache-2.0 */
/* The nearest known word, by edit distance. */
#include "base/suggestion.h"

#include <ctype.h>

/* Longer words are not compared: nobody mistypes them by hand, and the cost is quadratic. */
#define WORD_MAX 64

/*
 * The fewest insertions, deletions, replacements and swaps of neighbours (optimal string alignment)
 * between A and B, whatever their case.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t a_length = strlen(a), b_length = strlen(b);
	size_t rows[3][WORD_MAX + 1];
	size_t *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_length; j++)
		above[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);

			row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]))
				row[j] = MIN(row[j], before[j - 2] + 1);
		}
		size_t *spare = before;
		before = above;
		above = row;
		row = spare;
	}
	return above[b_length];
}

void suggestion_offer(struct suggestion *suggestion, const char *candidate)
{
	size_t length = strlen(suggestion->text);

	if (!length || length > WORD_MAX || strlen(candidate) > WORD_MAX)
		return;
	size_t distance = edit_distance(suggestion->text, candidate);
	/* Any one letter is near any other: of a short word, only the case may differ. */
	size_t near = length < 3 ? 0 : MAX(length / 3, (size_t)1);
	if (distance > near || (suggestion->best && distance >= suggestion->distance))
		return;
	suggestion->best = candidate;
	suggestion->distance = distance;
}
