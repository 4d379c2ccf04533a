/** What `retrai doctor` found about one thing. */
export type Finding = {
  readonly name: string
  /** `note`: it is missing, and only some projects need it. `warn`: a server works, but not as well as it could. */
  readonly verdict: 'ok' | 'note' | 'warn' | 'fail'
  /** What was found, as a sentence. */
  readonly message: string
  /** What a person can do about it; null if there is nothing to do. */
  readonly fix: string | null
}

/** Nothing has to be done. */
export const ok = (name: string, message: string): Finding => {
  return { name, verdict: 'ok', message, fix: null }
}

/** Only some projects need what is missing. */
export const note = (name: string, message: string, fix: string): Finding => {
  return { name, verdict: 'note', message, fix }
}

/** A server works, but not as well as it could. */
export const warn = (name: string, message: string, fix: string): Finding => {
  return { name, verdict: 'warn', message, fix }
}

/** A server does not work, or refuses all commands. */
export const fail = (name: string, message: string, fix: string): Finding => {
  return { name, verdict: 'fail', message, fix }
}
