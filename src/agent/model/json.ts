import { err, ok, type Result } from 'neverthrow'

export function parseJson(text: string): Result<unknown, 'not_json'> {
  try {
    return ok(JSON.parse(text))
  } catch {
    return err('not_json')
  }
}
