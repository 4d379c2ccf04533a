import { Readable } from 'node:stream'
import { err, ok, type Result } from 'neverthrow'
import { z } from 'zod'
import { address, type ServerOptions } from './server.ts'

const Problem = z.object({ type: z.string(), detail: z.string() })

/** Why a file of a server could not be had. */
export type DownloadFailure = {
  /** The end of the problem's type; null where no server answered as one. */
  readonly code: string | null
  readonly message: string
}

/** What a server sends at an address, as it comes. @param path begins with a slash */
export async function download(
  options: ServerOptions,
  path: string,
): Promise<Result<Readable, DownloadFailure>> {
  const { url, token } = address(options)
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}${path}`, { headers })
    if (response.ok && response.body !== null) return ok(Readable.fromWeb(response.body))
    return err(refusal(path, response.status, await response.text()))
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.cause ?? cause) : cause
    const message = `No server answers at ${url}: ${String(reason)}. Start one with "retrai serve", or name another with --server or RETRAI_SERVER.`
    return err({ code: null, message })
  }
}

function refusal(path: string, status: number, body: string): DownloadFailure {
  try {
    const { type, detail } = Problem.parse(JSON.parse(body))
    return { code: type.slice(type.lastIndexOf(':') + 1), message: detail }
  } catch {
    const message = `${path} is answered with status ${status}, but not as a retrAI server of this version does.`
    return { code: null, message }
  }
}

/** A JSON document of a server. */
export async function downloadJson<T>(
  options: ServerOptions,
  path: string,
  schema: z.ZodType<T>,
): Promise<Result<T, DownloadFailure>> {
  const body = await download(options, path)
  if (body.isErr()) return err(body.error)
  try {
    return ok(schema.parse(JSON.parse(Buffer.concat(await body.value.toArray()).toString())))
  } catch (cause) {
    return err({ code: null, message: `${path} is not what was expected: ${String(cause)}` })
  }
}
