/** How far a goal check was from the goal; null if its sentence has no numbers. */
export type Distance = { readonly failing: number; readonly total: number | null }

const SENTENCES: readonly [RegExp, (match: RegExpExecArray) => Distance][] = [
  [/(?<!\d)(\d+) of (\d+) tests? failing/, (m) => ({ failing: Number(m[1]), total: Number(m[2]) })],
  [/\b(\d+) tests? failing/, (m) => ({ failing: Number(m[1]), total: null })],
  [/(?<!\d)(\d+) type errors?/, (m) => ({ failing: Number(m[1]), total: null })],
]

/** Reads the numbers in a goal's sentence. The sentence is meant for people, so only a chart depends on it. */
export function distanceOf(check: {
  readonly achieved: boolean
  readonly reason: string
}): Distance | null {
  if (check.achieved) {
    const passed = /^All (\d+) tests passed/.exec(check.reason)?.[1]
    return { failing: 0, total: passed === undefined ? null : Number(passed) }
  }
  for (const [pattern, read] of SENTENCES) {
    const match = pattern.exec(check.reason)
    if (match !== null) return read(match)
  }
  return null
}
