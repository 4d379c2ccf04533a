import { z } from 'zod'
import { authorization } from './client.ts'

const Problem = z.object({ detail: z.string() })

async function get(path: string, signal: AbortSignal | null = null): Promise<Response> {
  const response = await fetch(path, { headers: authorization(), signal })
  if (response.ok) return response
  const problem = Problem.safeParse(await response.json().catch(() => null))
  throw new Error(problem.data?.detail ?? `The server answered ${response.status}.`)
}

const runPath = (runId: string): string => `/api/runs/${encodeURIComponent(runId)}`

/** The whole output of a tool call, of which its record holds a part. */
export async function fetchArtifact(
  runId: string,
  sha256: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const response = await get(`${runPath(runId)}/artifacts/${sha256}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** All that the server has of a run, as one file that can be verified without it. */
export async function fetchExport(runId: string): Promise<Blob> {
  return (await get(`${runPath(runId)}/export`)).blob()
}

const Proof = z.object({
  length: z.int(),
  head: z.string(),
  key: z.string(),
  signed_at: z.string(),
})
export type Proof = Readonly<z.infer<typeof Proof>>

/** How many records the server says that a run has, and the hash of the last; signed. */
export async function fetchProof(runId: string, signal: AbortSignal): Promise<Proof> {
  return Proof.parse(await (await get(`${runPath(runId)}/proof`, signal)).json())
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
