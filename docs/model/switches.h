/* What charge.pml is verified under: its size, one rule left out (NO_..., PARK_OVER_DOUBT), and what the person and
 * Omie do. The first branch of each is the mutation, the last is the system. */
#ifndef SETTLES
#define SETTLES 1       /* 2: `billing-ops resolve` or another execution runs beside the first */
#endif
#ifndef COPIES
#define COPIES 2        /* deliveries beyond one per message */
#endif

#ifdef NO_CLAIM         /* calls without having taken the charge from READY or nothing */
#define claimable true
#else
#define claimable from_CLAIM
#endif

#ifdef NO_HOLD          /* claims without looking for a hold in the same transaction */
#define on_hold false
#else
#define on_hold hold
#endif

#ifdef NO_WAIT          /* reads Omie at once */
#define wait_is_over(a) true
#else                   /* the wait exceeds the function's time-out plus the longest abandoned call: THE assumption */
#define wait_is_over(a) (!writer[a] && wire[a] != SENT)
#endif

#ifdef NO_ADOPT         /* does not look for an order of the month */
#define has_order false
#else
#define has_order (billings > 0)
#endif

#ifdef PARK_OVER_DOUBT  /* a PARK that names no attempt closes a doubt it knows nothing of */
#define nameless true
#else
#define nameless !in(UNKNOWN)
#endif

#ifdef OMIE_REFUSES_SECOND
#define omie_accepts (billings == 0)
#define click if :: billings == 0 -> bill :: else fi         /* at any time */
#else
#define omie_accepts true
#if defined(CLICK_ANYTIME)
#define click billings == 0 -> bill                          /* the screen offers what is not billed */
#elif defined(CLICK_BEFORE_CLAIM)
#define click billings == 0 && !in(SENDING) && flying == 0 -> bill
#else                   /* never between our reading of the stages and the end of the call that rests on it */
#define click billings == 0 && working == 0 && flying == 0 && relying == 0 -> bill; old = true
#endif
#endif
