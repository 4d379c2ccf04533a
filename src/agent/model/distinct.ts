/** `wanted`, or `wanted_2`, `wanted_3`, … if it is taken; what it returns is taken from then on. */
export function distinct(wanted: string, taken: Set<string>): string {
  let candidate = wanted
  for (let n = 2; taken.has(candidate); n += 1) candidate = `${wanted}_${n}`
  taken.add(candidate)
  return candidate
}
