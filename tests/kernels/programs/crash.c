/* SPDX-License-Identifier: Apache-2.0 */
/* Uses a null pointer. */
int main(void)
{
	volatile int *pointer = (int *)0x10;

	return *pointer;
}
