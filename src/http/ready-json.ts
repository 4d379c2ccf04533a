import type { FastifyReply } from 'fastify'

/**
 * Makes JSON of values that never change, once for each as long as it is in use. What it makes is not
 * checked against the schema of the answer again: the types and the tests do that.
 */
export function jsonOnce<T extends object>(view: (value: T) => unknown): (value: T) => string {
  const made = new WeakMap<T, string>()
  return (value) => {
    const known = made.get(value)
    if (known !== undefined) return known
    const json = JSON.stringify(view(value))
    made.set(value, json)
    return json
  }
}

/** Answers with JSON that is text already. */
export function sendJson(reply: FastifyReply, json: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(json)
}
