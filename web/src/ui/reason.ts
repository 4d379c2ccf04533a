const LIMITS: Readonly<Record<string, string>> = {
  max_iterations: 'Iteration limit',
  max_cost_usd: 'Cost limit',
  max_tokens: 'Token limit',
  max_seconds: 'Working time limit',
}

/** The reason of a record, with the name that a person knows for the limit that it is about. */
export const inWords = (reason: string): string =>
  reason.replace(/^Stopped by (max_\w+)/, (all, name: string) => LIMITS[name] ?? all)
