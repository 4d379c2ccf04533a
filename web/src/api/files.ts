import { ProblemDocument } from '../../../src/api/problems.ts'
import { client } from './client.ts'
import { authorization } from './early.ts'
import { answerOf } from './problem.ts'

/** The whole output of a tool call, of which its record holds a part. */
export async function fetchArtifact(
  runId: string,
  sha256: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const body = await answerOf(client().history.artifact(runId, sha256))
  return new Uint8Array(await new Response(body).arrayBuffer())
}

/** Everything that the server has of a run, as one file that can be verified without the server. */
export async function fetchExport(runId: string, format: 'tar.gz' | 'html'): Promise<Blob> {
  return new Response(await answerOf(client().audit.export(runId, { format }))).blob()
}

/** The server understands the request and refuses it: it would refuse it again. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

async function get(path: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(path, { headers: authorization(), signal })
  if (response.ok) return response
  const problem = ProblemDocument.safeParse(await response.json().catch(() => null))
  const message = problem.data?.detail ?? `The server answered ${response.status}.`
  throw response.status < 500 ? new Refused(message) : new Error(message)
}

/** A JSON document of the API that the client does not read, as it came. */
export const fetchJson = async (path: string, signal: AbortSignal): Promise<unknown> =>
  (await get(path, signal)).json()

/** A document of a JSON value a line. */
export async function fetchLines(path: string, signal: AbortSignal): Promise<unknown[]> {
  const text = await (await get(path, signal)).text()
  return text.split('\n').flatMap((line): unknown[] => (line === '' ? [] : [JSON.parse(line)]))
}

/**
 * The server's signed proof of a run, and the keys that it publishes, as they came: the page checks them
 * and shows what is wrong.
 */
export async function fetchProof(
  runId: string,
  signal: AbortSignal,
): Promise<{ readonly proof: unknown; readonly keys: unknown }> {
  const [proof, keys] = await Promise.all([
    fetchJson(`/api/runs/${encodeURIComponent(runId)}/proof`, signal),
    fetchJson('/api/keys', signal),
  ])
  return { proof, keys }
}

/** Hands a file to the person. */
export function save(file: Blob, name: string): void {
  const address = URL.createObjectURL(file)
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  URL.revokeObjectURL(address)
}
