/** What `bare-process.mjs` runs: a command, what is written to its further pipes, and what is opened for it. */
export type BareCommand = {
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  /** From descriptor 3 on: Base64, or null for a pipe that is read. */
  readonly pipes?: readonly (string | null)[]
  /** After the pipes, opened to be read. */
  readonly files?: readonly string[]
  /** After the files, opened without rights to their content. */
  readonly paths?: readonly string[]
}

/** A command as a server runs it. */
export type Wanted = Pick<BareCommand, 'file' | 'args' | 'cwd'> & { readonly isolated: boolean }

export type Repeated<C> = {
  readonly command: C
  readonly count: number
  readonly atOnce: number
}

/** The whole time and that of each command, milliseconds. */
export type Times = { readonly ms: number; readonly times: readonly number[] }

/** What `bare-process.mjs` answers. */
export type BareOperations = {
  /** @returns bytes of output */
  run(command: BareCommand): Promise<number>
  repeat(repeated: Repeated<BareCommand>): Promise<Times>
}
