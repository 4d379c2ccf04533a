/** A function that takes the password of a connection string out of any text. */
export function redactor(connectionString: string): (text: string) => string {
  const password = /^[^:]*:\/\/[^:@]*:([^@]*)@/.exec(connectionString)?.[1]
  const secrets = password === undefined ? [] : [password, decoded(password)]
  return (text) => {
    const known = secrets.reduce((rest, secret) => rest.replaceAll(secret || '\0', '***'), text)
    return known.replace(/(:\/\/[^:@/\s]{0,1000}:)[^@\s]{1,1000}@/g, '$1***@')
  }
}

/** The error with its message redacted. */
export const redacted = <E extends object>(error: E, redact: (text: string) => string): E => {
  return 'message' in error ? { ...error, message: redact(String(error.message)) } : error
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
