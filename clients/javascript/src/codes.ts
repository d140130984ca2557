/** Written by `make reference`: the codes of errors after which the same request may be sent again. */
export const RETRYABLE: ReadonlySet<string> = new Set([
  "DEADLINE_EXCEEDED",
  "KERNEL_NOT_STARTED",
  "OUTCOME_UNKNOWN",
  "OVERLOADED",
  "POOL_EXHAUSTED",
  "RATE_LIMIT_EXCEEDED",
  "RECORDS_IN_DOUBT",
  "SERVICE_UNAVAILABLE",
  "TRANSACTION_ABORTED",
  "TRANSACTION_UNAVAILABLE",
  "WRITE_CONFLICT",
]);
