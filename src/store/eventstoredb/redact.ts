/** A function that takes the password of a connection string out of any text. */
export function redactor(connectionString: string): (text: string) => string {
  const password = /^[^:]*:\/\/[^:@]*:([^@]*)@/.exec(connectionString)?.[1]
  const secrets = password === undefined ? [] : [password, decoded(password)]
  return (text) => {
    const known = secrets.reduce((rest, secret) => rest.replaceAll(secret || '\0', '***'), text)
    return known.replace(/(:\/\/[^:@/\s]*:)[^@\s]+@/g, '$1***@')
  }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
