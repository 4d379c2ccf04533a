import type { FastifyInstance } from 'fastify'

/**
 * Takes bodies that say they are JSON and no others: those are the ones that a browser does not send
 * to another origin without asking first. An empty body is one that was left out.
 */
export function acceptJsonOnly(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>(
    'application/json',
    { parseAs: 'string' },
    (request, body, done) => {
      if (body === '') done(null, undefined)
      else void parseJson(request, body, done)
    },
  )
}
