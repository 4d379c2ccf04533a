/**
 * The media type that a client takes most gladly of those that are offered, by its Accept header (RFC
 * 9110); the first where it does not care, null where it takes none.
 */
export function preferred<T extends string>(
  accept: string | undefined,
  offered: readonly T[],
): T | null {
  const ranges = (accept?.trim() || '*/*').split(',').map(parseRange)
  const weighed = offered.map((type) => ({ type, weight: weightOf(type, ranges) }))
  const best = weighed.toSorted((a, b) => b.weight - a.weight)[0]
  return best === undefined || best.weight <= 0 ? null : best.type
}

type Range = { readonly range: string; readonly weight: number }

function parseRange(text: string): Range {
  const [range = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
  const q = parameters.find((parameter) => parameter.startsWith('q='))
  const weight = q === undefined ? 1 : Number(q.slice(2))
  return { range, weight: weight >= 0 && weight <= 1 ? weight : 0 }
}

/** The most exact range that names the type decides. */
function weightOf(type: string, ranges: readonly Range[]): number {
  const [group] = type.split('/')
  for (const name of [type, `${group}/*`, '*/*']) {
    const found = ranges.find(({ range }) => range === name)
    if (found !== undefined) return found.weight
  }
  return 0
}
