import { err, ok, type Result } from 'neverthrow'
import type { z } from 'zod'
import { type Asked, nonsense, statusFailure } from './failures.ts'
import { parseJson } from './json.ts'
import type { ModelFailure, ModelReply } from './model.ts'
import { costUsd } from './prices.ts'
import { holdsProblem, readProblem } from './problem.ts'
import { Completion, readCompletion } from './reply.ts'
import type { Route } from './routing.ts'

/**
 * The largest reply taken. It is recorded twice in one append (what the model said, and the call that
 * follows from it), and an append has to stay below the limit of the store.
 */
const MAX_REPLY_BYTES = 400_000

/** What an endpoint answered with a status of success. */
export type Answer = { readonly text: string; readonly headers: Headers }

/** Reads an answer to the request `body`, and prices it. */
export function readAnswer(
  { text, headers }: Answer,
  body: unknown,
  target: Route,
  asked: Asked,
): Result<ModelReply, ModelFailure> {
  const json = parseJson(text)
  if (json.isErr()) return err(nonsense(text.trim() || 'it is empty', asked))
  const completion = Completion.safeParse(json.value)
  if (!completion.success) {
    const failure = inBandFailure(json.value, headers, asked)
    return err(failure ?? nonsense(describe(completion.error.issues), asked))
  }
  const { reply, usage } = readCompletion(completion.data, body)
  const bytes = Buffer.byteLength(JSON.stringify([reply.text, reply.toolCalls]))
  if (bytes > MAX_REPLY_BYTES) return err(nonsense(`it is too large, ${bytes} bytes`, asked))
  return ok({ ...reply, costUsd: costUsd(target, usage) })
}

/** Some endpoints send their errors with a status of success. */
function inBandFailure(json: unknown, headers: Headers, asked: Asked): ModelFailure | null {
  if (!holdsProblem(json)) return null
  const code = Number(readProblem(json).code)
  return statusFailure(code >= 400 && code < 600 ? code : 500, json, headers, asked)
}

function describe(issues: readonly z.core.$ZodIssue[]): string {
  return issues
    .map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
    .join('; ')
}
