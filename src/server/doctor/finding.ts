/** What `retrai doctor` found about one thing. */
export type Finding = {
  readonly name: string
  readonly verdict: 'ok' | 'warn' | 'fail'
  /** What was found, as a sentence. */
  readonly message: string
  /** What a person can do about it; null if there is nothing to do. */
  readonly fix: string | null
}

export const ok = (name: string, message: string): Finding => ({
  ...{ name, verdict: 'ok', message, fix: null },
})

export const warn = (name: string, message: string, fix: string): Finding => ({
  ...{ name, verdict: 'warn', message, fix },
})

export const fail = (name: string, message: string, fix: string): Finding => ({
  ...{ name, verdict: 'fail', message, fix },
})
