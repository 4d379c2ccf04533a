/** Cells of a table: how many times better retrAI is, the target, and whether it holds. */
export function timesBetter(times: number, asked: number): readonly [string, string, string] {
  const held = times >= asked ? 'yes' : '**NO**'
  return [`${times.toFixed(times < 10 ? 1 : 0)}×`, `≥ ${asked}×`, held]
}
