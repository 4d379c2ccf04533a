import { ResultAsync } from 'neverthrow'
import type { buildApp } from '../http/app.ts'
import type { Settings } from './settings.ts'

/** Begins to answer; resolves to the address. The error is a text for people that says what to do. */
export function listen(
  app: Pick<Awaited<ReturnType<typeof buildApp>>, 'listen'>,
  { RETRAI_HOST: host, RETRAI_PORT: port }: Settings,
): ResultAsync<string, string> {
  return ResultAsync.fromPromise(app.listen({ host, port }), (cause) =>
    listenProblem(cause, host, port, '--port'),
  )
}

/** @param flag names the setting that chooses the port */
export function listenProblem(cause: unknown, host: string, port: number, flag: string): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') {
    return `Port ${port} on ${host} is taken by another program. Stop it, or choose another port with ${flag} (0 finds a free one).`
  }
  if (code === 'EACCES')
    return `Port ${port} may not be opened by this user. Choose one above 1023.`
  return `Cannot listen on ${host}:${port}: ${message}`
}
