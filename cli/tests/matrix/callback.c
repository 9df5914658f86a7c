/* Calls back into the program: the functions of another language that a stack leads through. */

typedef void (*callback)(void *);

volatile int callback_was_here;

__attribute__((noinline)) void call_back(callback function, void *data)
{
	function(data);
	callback_was_here = 1;
}

__attribute__((noinline)) void call_back_deeper(callback function, void *data)
{
	/* Taken from the stack, so that the distance to the caller is one of its own. */
	volatile char room[200];
	room[0] = 1;
	call_back(function, data);
	callback_was_here = room[0];
}
