import { Readable } from 'node:stream'
import { err, ok, type Result } from 'neverthrow'
import type { z } from 'zod'
import { createOpener } from '../client/call.ts'
import { readBaseUrl } from '../client/index.ts'
import { CLIENT_LIMITS } from '../client/limits.ts'
import { chunksOf, textOf } from '../client/lines.ts'
import { explain, type ServerOptions, serverAddress } from './connection.ts'

/** Why a file of a server could not be had. */
export type DownloadFailure = {
  /** The end of the problem's type; null where no server answered as one. */
  readonly code: string | null
  readonly message: string
}

type Body = ReadableStream<Uint8Array<ArrayBuffer>>

/** What a server sends at an address, as it comes. @param path begins with a slash */
export async function download(
  options: ServerOptions,
  path: string,
): Promise<Result<Readable, DownloadFailure>> {
  const body = await open(options, path)
  return body.map((opened) =>
    Readable.from(chunksOf(opened, CLIENT_LIMITS.silenceMs), { objectMode: false }),
  )
}

/** A JSON document of a server. */
export async function downloadJson<T>(
  options: ServerOptions,
  path: string,
  schema: z.ZodType<T>,
): Promise<Result<T, DownloadFailure>> {
  const body = await open(options, path)
  if (body.isErr()) return err(body.error)
  try {
    const text = await textOf(body.value, CLIENT_LIMITS.answerBytes)
    if (text !== null) return ok(schema.parse(JSON.parse(text)))
    return err({ code: null, message: `${path} is answered with more than is read of an answer.` })
  } catch (cause) {
    return err({ code: null, message: `${path} is not what was expected: ${String(cause)}` })
  }
}

async function open(options: ServerOptions, path: string): Promise<Result<Body, DownloadFailure>> {
  const address = serverAddress(options)
  if (address.isErr()) return err({ code: null, message: address.error })
  const { url, token } = address.value
  const opened = await createOpener({ baseUrl: readBaseUrl(url), token, fetch, ...CLIENT_LIMITS })({
    path,
    accept: '*/*',
    signal: undefined,
  })
  return opened.mapErr((error) => ({
    code: error.type === 'refused' ? error.code : null,
    message: explain(error),
  }))
}
