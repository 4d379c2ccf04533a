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

const fixable =
  (verdict: Exclude<Finding['verdict'], 'ok'>) =>
  (name: string, message: string, fix: string): Finding => ({ name, verdict, message, fix })

/** Only some projects need what is missing. */
export const note = fixable('note')

/** A server works, but not as well as it could. */
export const warn = fixable('warn')

/** A server does not work, or refuses all commands. */
export const fail = fixable('fail')
