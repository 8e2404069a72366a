/* Lists that are later than assumed, and one known order that tells: billing.domain.list_lag. `make model` verifies it.
 * Time is counted in ticks. A charge is in doubt; its call may have billed it at any tick up to ENDED, when the call can
 * do so no more. Another order of that company is known from Omie's own reply, and was begun before that. Omie shows
 * each order LATE ticks after it was made, for any LATE up to BELIEVED. Whoever looks may look at any time. */
#define ASSUMED  2                      /* list_lag_seconds */
#define BELIEVED 6                      /* LONGEST_BELIEVED: nothing is claimed of lists that are later */
#define ENDED    3                      /* the last moment of the doubted call */
#define OVER     (ENDED + BELIEVED + 3)
#define MAX(a, b) (a > b -> a : b)

byte now = 0, late, known, billed;      /* when each order was made */
bool executed;                          /* whether the doubted call billed at all */
byte missing = 0;                       /* the greatest age at which the known order was missing, */
byte shown = OVER;                      /* and the least at which it was there; OVER: never */

#ifdef NO_MEASURE                       /* the setting alone */
#define lag ASSUMED
#elif defined(ONLY_MISSING)             /* by what is missing alone: half as much again */
#define lag MAX(ASSUMED, (3 * missing + 1) / 2)
#else
#define lag MAX(found, (missing > ASSUMED -> (3 * missing + 1) / 2 : 0))
#define found (shown == OVER -> (missing > ASSUMED -> BELIEVED : ASSUMED) : MAX(ASSUMED, shown))
#endif
#define shows(made) (now >= made + late)

active proctype Lists() {
    select(late : 0 .. BELIEVED);
    select(known : 0 .. ENDED);
    select(billed : 0 .. ENDED);
    if :: executed = true :: executed = false fi;
    now = known;                        /* nobody looks for an order that was not made yet */
end: do
    :: now < OVER -> now++
    :: atomic {                         /* a look: the known order first, then whether the charge may be sent again */
           if :: shows(known) -> shown = (now - known < shown -> now - known : shown)
              :: else -> missing = MAX(missing, now - known) fi;
           if :: executed && now >= billed && shows(billed) -> break               /* its order: adopted */
              :: else fi;
           if :: now >= ENDED + lag -> assert(!executed); break       /* stage 20: NEVER AGAIN IF BILLED */
              :: else fi }
    od
}
