package letter

import "fmt"

// Words are those of a language.
type words struct {
	sender, date, address, greeting, meaning, ask, end, regards, name string

	opening  string
	subject  func(vendor string) string
	recorded func(vendor, since, until, zone string, names int, count string) string
	listsErr string // that the lists that attribute names may be wrong

	// In place of these where the person observes the names, and no list of others has them.
	company       string
	subjectBelow  func(domain string) string
	recordedBelow func(domain, since, until, zone string, names int, count string) string
	guess         string
	endBelow      string
	listedBelow   string

	questions []string

	annex                                                                     string
	heads                                                                     [3]string
	period, coverage, program, attempts, noAttempts, blocked, device, totals  string
	caveat                                                                    string // before one, which is in English
	surely                                                                    string
	sure                                                                      map[string]string
	by                                                                        [4]string // what a device was told from others by: byAddress and so on
	or                                                                        string
	gaps                                                                      func(n int) string
	unnamed, ofBlocked, times, tier, purpose, product, region, listed, source string
	attempt, lookup                                                           [2]string // one, and more
	layout                                                                    string
	allBlocked                                                                string
	imported, importedMost                                                    string // how many lookups, or how many at most
	limits                                                                    []string
	listsSay                                                                  string // a limit of what lists attribute
}

var languages = map[string]*words{"en": &english, "de": &german}

var english = words{
	sender: "[YOUR NAME]\n[YOUR ADDRESS]", date: "[DATE]", address: "[THE COMPANY'S ADDRESS, OR THAT OF WHO ANSWERS FOR PRIVACY THERE]",
	subject: func(vendor string) string {
		return "Request for information: lookups of names of " + vendor + " by my device"
	},
	greeting: "Dear Sir or Madam,",
	company:  "[THE COMPANY WHOSE NAMES THEY ARE]",
	subjectBelow: func(domain string) string {
		return "Request for information: lookups of names below " + domain + " by my device"
	},
	recordedBelow: func(domain, since, until, zone string, names int, count string) string {
		return fmt.Sprintf("From %s to %s (%s) the DNS server of my network recorded that this device looked up %s below %s: %s. I chose to have them recorded: no list says whose they are. The annex says which names, how often and when.", since, until, zone, number(names, "name", "names"), domain, count)
	},
	guess:       "That the names are yours, and that they may be of telemetry, is my own guess. That is why I ask you:",
	endBelow:    "If a name is not yours, please tell me that, too. I would be glad to have your answer by [DATE] at [YOUR ADDRESS FOR THE ANSWER].",
	listedBelow: "recorded because I observe it; no list says whose it is",
	opening:     "I use this device: [MODEL, AND THE VERSION OF ITS SOFTWARE], since [WHEN]. What I have set on it that may bear on this: [SETTINGS, CONSENTS GIVEN OR WITHDRAWN, AND WHEN].",
	recorded: func(vendor, since, until, zone string, names int, count string) string {
		return fmt.Sprintf("From %s to %s (%s) the DNS server of my network recorded that this device looked up %s that lists attribute to %s: %s. The annex says which names, how often and when, and who lists them as what.", since, until, zone, number(names, "name", "names"), vendor, count)
	},
	meaning:  "A lookup shows that a device asked for the address of a name. It does not show that a connection was made, what it would have carried, or which app asked.",
	listsErr: "The lists that say whose names these are, and what for, may be wrong. That is why I ask you:",
	ask:      "For each of the names in the annex,",
	questions: []string{
		"what is it for, and which software on the device looks it up?",
		"which data does the device send to the server behind it, how often, and is there among them anything that identifies the device or me?",
		"on which settings or consents does it depend whether the device does so, and how can it be switched off?",
		"who operates the server, in which country is it, and who else is given the data?",
		"how long are the data kept?",
	},
	end:     "If a name is not yours, or is not what the lists say, please tell me that, too. I would be glad to have your answer by [DATE] at [YOUR ADDRESS FOR THE ANSWER].",
	regards: "Yours faithfully,", name: "[YOUR NAME]",
	annex: "Annex: what was recorded", heads: [3]string{"How it was recorded", "The names", "What this shows, and what it does not"},
	period: "Period: %s to %s (%s).", coverage: "A server recorded during %s of %s; %s.", program: "Recorded and counted by %s.",
	attempts:   "An attempt is the lookups of one name that belong together (types, retries), until none came for %g seconds. Lookups are counted as they came.",
	noAttempts: "Lookups are counted as they came: types and retries of one attempt count one each.",
	blocked:    "My network did not answer some of them with an address (blocked): %s. A name that is blocked may be asked for again and again because of that.",
	allBlocked: "My network answered none of them with an address: all were blocked. A name that is blocked may be asked for again and again because of that.",
	imported:   "Another DNS server recorded %d of these lookups: they were imported from its log.", importedMost: "Another DNS server recorded up to %d of these lookups: they were imported from its log.",
	device: "The device was told from others of my network by %s.", surely: " How surely, by lookups: %s.",
	by: [4]string{"what the record does not have", "its address there", "its hardware address (MAC)", "an id that it sends with its lookups"}, or: " or ",
	sure:   map[string]string{"high": "high", "medium": "medium", "low": "low"},
	totals: "Some rows of the period are deleted by now, or were read as hourly totals: their names are not below.",
	gaps: func(n int) string {
		if n == 0 {
			return "no gap is known"
		}
		return number(n, "gap", "gaps")
	},
	unnamed: "(names that were counted together)", ofBlocked: "; of these blocked: %s", times: "first %s, last %s", tier: "as", purpose: "purpose", product: "product", region: "region",
	listed: "listed by %s %s", source: "source:", attempt: [2]string{"attempt", "attempts"}, lookup: [2]string{"lookup", "lookups"}, layout: "2 Jan 2006 15:04",
	limits: []string{
		"It shows that a device which held an address asked for a name at a time, so often, and how it was answered.",
		"It does not show that a connection was made, nor what it would have carried, nor which app asked, nor whether a person was using the device.",
		"That a name is not here does not show that it was not used: a device can keep answers, have addresses built in, ask other servers, or use a mobile network.",
	},
	listsSay: "What names are for is what the lists and documents named here say of them.",
}

var german = words{
	sender: "[IHR NAME]\n[IHRE ANSCHRIFT]", date: "[DATUM]", address: "[ANSCHRIFT DES UNTERNEHMENS ODER SEINER STELLE FÜR DATENSCHUTZ]",
	subject: func(vendor string) string {
		return "Bitte um Auskunft: Abfragen von Namen von " + vendor + " durch mein Gerät"
	},
	greeting: "Sehr geehrte Damen und Herren,",
	company:  "[DAS UNTERNEHMEN, DEM DIE NAMEN GEHÖREN]",
	subjectBelow: func(domain string) string {
		return "Bitte um Auskunft: Abfragen von Namen unter " + domain + " durch mein Gerät"
	},
	recordedBelow: func(domain, since, until, zone string, names int, count string) string {
		return fmt.Sprintf("Vom %s bis zum %s (%s) hat der DNS-Server meines Netzes aufgezeichnet, dass dieses Gerät %s unter %s abgefragt hat: %s. Dass sie aufgezeichnet werden, habe ich so bestimmt: Keine Liste sagt, wem sie gehören. Im Anhang steht, welche Namen wie oft und wann.", since, until, zone, number(names, "Namen", "Namen"), domain, count)
	},
	guess:       "Dass es Ihre Namen sind und dass sie der Telemetrie dienen können, vermute ich selbst. Deshalb frage ich Sie:",
	endBelow:    "Falls ein Name nicht der Ihre ist, teilen Sie mir bitte auch das mit. Über eine Antwort bis zum [DATUM] an [IHRE ANSCHRIFT FÜR DIE ANTWORT] würde ich mich freuen.",
	listedBelow: "aufgezeichnet, weil ich ihn beobachte; keine Liste sagt, wem er gehört",
	opening:     "ich benutze dieses Gerät: [MODELL UND VERSION DER SOFTWARE], seit [WANN]. Was ich darauf eingestellt habe und was hierfür von Bedeutung sein kann: [EINSTELLUNGEN, ERTEILTE ODER WIDERRUFENE EINWILLIGUNGEN, UND WANN].",
	recorded: func(vendor, since, until, zone string, names int, count string) string {
		return fmt.Sprintf("Vom %s bis zum %s (%s) hat der DNS-Server meines Netzes aufgezeichnet, dass dieses Gerät %s abgefragt hat, die in Listen %s zugeschrieben werden: %s. Im Anhang steht, welche Namen wie oft und wann, und wer sie als was führt.", since, until, zone, number(names, "Namen", "Namen"), vendor, count)
	},
	meaning:  "Eine Abfrage zeigt, dass ein Gerät nach der Adresse eines Namens gefragt hat. Sie zeigt nicht, dass eine Verbindung zustande kam, was dabei übertragen worden wäre oder welche App gefragt hat.",
	listsErr: "Die Listen, die sagen, wem die Namen gehören und wozu sie dienen, können falsch sein. Deshalb frage ich Sie:",
	ask:      "Zu jedem der Namen im Anhang:",
	questions: []string{
		"Wozu dient er, und welche Software auf dem Gerät fragt ihn ab?",
		"Welche Daten sendet das Gerät an den Server dahinter, wie oft, und ist darunter etwas, was das Gerät oder mich erkennbar macht?",
		"Von welchen Einstellungen oder Einwilligungen hängt ab, ob das Gerät dies tut, und wie lässt es sich abschalten?",
		"Wer betreibt den Server, in welchem Land steht er, und wer erhält die Daten noch?",
		"Wie lange werden die Daten aufbewahrt?",
	},
	end:     "Falls ein Name nicht der Ihre ist oder nicht dem dient, was die Listen angeben, teilen Sie mir bitte auch das mit. Über eine Antwort bis zum [DATUM] an [IHRE ANSCHRIFT FÜR DIE ANTWORT] würde ich mich freuen.",
	regards: "Mit freundlichen Grüßen", name: "[IHR NAME]",
	annex: "Anhang: was aufgezeichnet wurde", heads: [3]string{"Wie es aufgezeichnet wurde", "Die Namen", "Was dies zeigt und was nicht"},
	period: "Zeitraum: %s bis %s (%s).", coverage: "Ein Server hat während %s von %s aufgezeichnet; %s.", program: "Aufgezeichnet und gezählt von %s.",
	attempts:   "Ein Versuch sind die Abfragen eines Namens, die zusammengehören (Typen, Wiederholungen), bis %g Sekunden lang keine kam. Abfragen sind gezählt, wie sie kamen.",
	noAttempts: "Abfragen sind gezählt, wie sie kamen: Typen und Wiederholungen eines Versuchs zählen einzeln.",
	blocked:    "Mein Netz hat einen Teil davon nicht mit einer Adresse beantwortet (gesperrt): %s. Ein gesperrter Name kann eben deshalb immer wieder abgefragt werden.",
	allBlocked: "Mein Netz hat keine davon mit einer Adresse beantwortet: Alle waren gesperrt. Ein gesperrter Name kann eben deshalb immer wieder abgefragt werden.",
	imported:   "Von diesen Abfragen hat ein anderer DNS-Server %d aufgezeichnet: Sie stammen aus dessen Protokoll.", importedMost: "Von diesen Abfragen hat ein anderer DNS-Server bis zu %d aufgezeichnet: Sie stammen aus dessen Protokoll.",
	device: "Das Gerät wurde von anderen meines Netzes durch %s unterschieden.", surely: " Wie sicher, nach Abfragen: %s.",
	by: [4]string{"etwas, was die Aufzeichnung nicht enthält,", "seine Adresse darin", "seine Hardware-Adresse (MAC)", "eine Kennung, die es mit seinen Abfragen sendet,"}, or: " oder ",
	sure:   map[string]string{"high": "hoch", "medium": "mittel", "low": "gering"},
	totals: "Einige Zeilen des Zeitraums sind inzwischen gelöscht oder wurden als Stundensummen gelesen: Ihre Namen stehen nicht unten.",
	gaps: func(n int) string {
		if n == 0 {
			return "keine Lücke ist bekannt"
		}
		return number(n, "Lücke", "Lücken")
	},
	unnamed: "(Namen, die zusammen gezählt wurden)", ofBlocked: "; davon gesperrt: %s", times: "zuerst %s, zuletzt %s", tier: "als", purpose: "Zweck", product: "Produkt", region: "Region",
	listed: "geführt von %s %s", source: "Quelle:", attempt: [2]string{"Versuch", "Versuche"}, lookup: [2]string{"Abfrage", "Abfragen"}, layout: "02.01.2006 15:04",
	caveat: "Anmerkung (auf Englisch): ",
	limits: []string{
		"Es zeigt, dass ein Gerät, das eine Adresse hatte, zu einer Zeit so oft nach einem Namen gefragt hat und wie geantwortet wurde.",
		"Es zeigt nicht, dass eine Verbindung zustande kam, was dabei übertragen worden wäre, welche App gefragt hat oder ob ein Mensch das Gerät gerade benutzte.",
		"Dass ein Name hier fehlt, zeigt nicht, dass er nicht benutzt wurde: Ein Gerät kann Antworten aufbewahren, Adressen fest eingebaut haben, andere Server fragen oder ein Mobilfunknetz benutzen.",
	},
	listsSay: "Wozu Namen dienen, ist, was die hier genannten Listen und Dokumente über sie sagen.",
}

func number[N int | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
