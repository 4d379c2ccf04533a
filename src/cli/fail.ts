/** Tells a person why a command could not be carried out; the process ends with 1. */
export function fail(message: string): void {
  process.stderr.write(`retrai: ${message}\n`)
  process.exitCode = 1
}
