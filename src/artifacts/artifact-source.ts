/** Where whole tool outputs are kept, by their SHA-256 (hex). */
export type ArtifactSource = {
  /** Null where there is none of that name. The stream must be read or destroyed. */
  read(
    sha256: string,
  ): Promise<{ readonly bytes: number; readonly stream: AsyncIterable<Uint8Array> } | null>
}
