"""Language codes to what a prompt needs in that language: its name, labels and worked examples.

The four examples state the same four facts in every language, written for Aloft. Each answer
stands word for word in its text, so that what they teach is to answer by a span.
"""

from dataclasses import dataclass

from aloft.text.normalising import fold


@dataclass(frozen=True, slots=True)
class Language:
    """A language, with what a prompt in it is made of.

    Attributes:
        name: In English.
        labels: What may stand before topic, text, question and answer, in that order.
        examples: (title, text, question, answer), four times.
    """

    name: str
    labels: tuple[str, str, str, str]
    examples: tuple[tuple[str, str, str, str], ...]


# fmt: off
LANGUAGES: dict[str, Language] = {  # by ISO 639-1 code
    "en": Language(
        "English", ("Topic", "Text", "Question", "Answer"), (
            ("Rhine Falls",
             "In an average summer about 600 cubic metres of water a second pour over the Rhine "
             "Falls, which are 150 metres wide.",
             "How much water flows over the Rhine Falls each second in summer?",
             "about 600 cubic metres"),
            ("Working from home",
             "Claims are filed through the travel portal before the tenth day of the following "
             "month and need a signed statement from the line manager.",
             "Who has to sign a claim for working from home?", "the line manager"),
            ("Bearings",
             "Ceramic bearings run cooler than steel ones because the balls are lighter and press "
             "less against the outer ring at high speed.",
             "Why do ceramic bearings stay cooler than steel bearings?",
             "because the balls are lighter and press less against the outer ring"),
            ("Mitochondria",
             "Using electron microscopy, Palade described the inner membrane folds of "
             "mitochondria, which are called cristae and carry the respiratory enzymes.",
             "What are the inner membrane folds of mitochondria called?", "cristae"),
        ),
    ),
    "ar": Language(
        "Arabic", ("الموضوع", "النص", "السؤال", "الجواب"), (
            ("شلالات الراين",
             "في صيف عادي يتدفق نحو 600 متر مكعب من المياه في الثانية عبر شلالات الراين التي يبلغ "
             "عرضها 150 مترًا.",
             "ما كمية المياه التي تتدفق عبر شلالات الراين في الثانية صيفًا؟", "نحو 600 متر مكعب"),
            ("العمل من المنزل",
             "تُقدَّم الطلبات عبر بوابة السفر قبل اليوم العاشر من الشهر التالي، ويجب أن يُرفق بها "
             "إقرار يوقّعه المدير المباشر.",
             "من يوقّع الإقرار المرفق بطلب العمل من المنزل؟", "المدير المباشر"),
            ("محامل الكريات",
             "تبقى محامل الكريات الخزفية أبرد من الفولاذية لأن كرياتها أخف وزنًا وتضغط بقوة أقل "
             "على الحلقة الخارجية عند السرعات العالية.",
             "لماذا تبقى محامل الكريات الخزفية أبرد من المحامل الفولاذية؟",
             "لأن كرياتها أخف وزنًا وتضغط بقوة أقل على الحلقة الخارجية"),
            ("الميتوكوندريا",
             "باستخدام المجهر الإلكتروني وصف بالادي طيات الغشاء الداخلي للميتوكوندريا، التي تسمى "
             "الأعراف وتحمل إنزيمات التنفس.",
             "ماذا تسمى طيات الغشاء الداخلي للميتوكوندريا؟", "الأعراف"),
        ),
    ),
    "de": Language(
        "German", ("Thema", "Text", "Frage", "Antwort"), (
            ("Rheinfall",
             "In einem durchschnittlichen Sommer stürzen am 150 Meter breiten Rheinfall rund 600 "
             "Kubikmeter Wasser pro Sekunde in die Tiefe.",
             "Wie viel Wasser fließt im Sommer pro Sekunde über den Rheinfall?",
             "rund 600 Kubikmeter"),
            ("Homeoffice",
             "Anträge werden über das Reiseportal vor dem zehnten Tag des Folgemonats "
             "eingereicht; außerdem muss die Führungskraft eine Erklärung unterschreiben.",
             "Wer muss bei einem Antrag auf Homeoffice eine Erklärung unterschreiben?",
             "die Führungskraft"),
            ("Kugellager",
             "Kugellager aus Keramik werden weniger heiß als solche aus Stahl, weil die Kugeln "
             "leichter sind und bei hoher Drehzahl weniger gegen den Außenring drücken.",
             "Warum werden Kugellager aus Keramik weniger heiß als solche aus Stahl?",
             "weil die Kugeln leichter sind und bei hoher Drehzahl weniger gegen den Außenring "
             "drücken"),
            ("Mitochondrien",
             "Mithilfe der Elektronenmikroskopie beschrieb Palade die Falten der inneren "
             "Mitochondrienmembran, die Cristae heißen und die Enzyme der Atmungskette tragen.",
             "Wie heißen die Falten der inneren Mitochondrienmembran?", "Cristae"),
        ),
    ),
    "el": Language(
        "Greek", ("Θέμα", "Κείμενο", "Ερώτηση", "Απάντηση"), (
            ("Καταρράκτες του Ρήνου",
             "Ένα συνηθισμένο καλοκαίρι περίπου 600 κυβικά μέτρα νερού το δευτερόλεπτο πέφτουν "
             "από τους Καταρράκτες του Ρήνου, που έχουν πλάτος 150 μέτρα.",
             "Πόσο νερό πέφτει από τους Καταρράκτες του Ρήνου κάθε δευτερόλεπτο το καλοκαίρι;",
             "περίπου 600 κυβικά μέτρα"),
            ("Τηλεργασία",
             "Οι αιτήσεις υποβάλλονται μέσω της πύλης ταξιδιών πριν από τη δέκατη ημέρα του "
             "επόμενου μήνα και συνοδεύονται από δήλωση που υπογράφει ο άμεσος προϊστάμενος.",
             "Ποιος υπογράφει τη δήλωση που συνοδεύει μια αίτηση τηλεργασίας;",
             "ο άμεσος προϊστάμενος"),
            ("Ρουλεμάν",
             "Τα κεραμικά ρουλεμάν θερμαίνονται λιγότερο από τα χαλύβδινα, επειδή οι σφαίρες τους "
             "είναι ελαφρύτερες και πιέζουν λιγότερο τον εξωτερικό δακτύλιο στις υψηλές ταχύτητες.",
             "Γιατί τα κεραμικά ρουλεμάν θερμαίνονται λιγότερο από τα χαλύβδινα;",
             "επειδή οι σφαίρες τους είναι ελαφρύτερες και πιέζουν λιγότερο τον εξωτερικό "
             "δακτύλιο"),
            ("Μιτοχόνδρια",
             "Με το ηλεκτρονικό μικροσκόπιο ο Παλάντ περιέγραψε τις πτυχές της εσωτερικής "
             "μεμβράνης των μιτοχονδρίων, οι οποίες ονομάζονται ακρολοφίες και φέρουν τα ένζυμα "
             "της αναπνοής.",
             "Πώς ονομάζονται οι πτυχές της εσωτερικής μεμβράνης των μιτοχονδρίων;", "ακρολοφίες"),
        ),
    ),
    "es": Language(
        "Spanish", ("Tema", "Texto", "Pregunta", "Respuesta"), (
            ("Cataratas del Rin",
             "En un verano normal caen unos 600 metros cúbicos de agua por segundo por las "
             "cataratas del Rin, que tienen 150 metros de ancho.",
             "¿Cuánta agua cae por las cataratas del Rin cada segundo en verano?",
             "unos 600 metros cúbicos"),
            ("Teletrabajo",
             "Las solicitudes se presentan en el portal de viajes antes del día diez del mes "
             "siguiente y requieren una declaración firmada por el superior directo.",
             "¿Quién tiene que firmar la declaración para una solicitud de teletrabajo?",
             "el superior directo"),
            ("Rodamientos",
             "Los rodamientos de cerámica se calientan menos que los de acero porque las bolas "
             "son más ligeras y presionan menos el anillo exterior a gran velocidad.",
             "¿Por qué los rodamientos de cerámica se calientan menos que los de acero?",
             "porque las bolas son más ligeras y presionan menos el anillo exterior"),
            ("Mitocondrias",
             "Mediante microscopía electrónica, Palade describió los pliegues de la membrana "
             "interna de las mitocondrias, que se llaman crestas y contienen las enzimas "
             "respiratorias.",
             "¿Cómo se llaman los pliegues de la membrana interna de las mitocondrias?", "crestas"),
        ),
    ),
    "fi": Language(
        "Finnish", ("Aihe", "Teksti", "Kysymys", "Vastaus"), (
            ("Reinin putoukset",
             "Reinin putouksista, jotka ovat 150 metriä leveät, syöksyy tavallisena kesänä noin "
             "600 kuutiometriä vettä sekunnissa.",
             "Kuinka paljon vettä Reinin putouksista virtaa kesällä sekunnissa?",
             "noin 600 kuutiometriä"),
            ("Etätyö",
             "Hakemukset jätetään matkaportaalin kautta ennen seuraavan kuukauden kymmenettä "
             "päivää, ja niiden liitteenä olevan lausunnon allekirjoittaa lähiesihenkilö.",
             "Kuka allekirjoittaa etätyöhakemuksen liitteenä olevan lausunnon?", "lähiesihenkilö"),
            ("Laakerit",
             "Keraamiset laakerit kuumenevat vähemmän kuin teräksiset, koska kuulat ovat "
             "kevyempiä ja painavat ulkokehää vähemmän suurilla nopeuksilla.",
             "Miksi keraamiset laakerit kuumenevat vähemmän kuin teräslaakerit?",
             "koska kuulat ovat kevyempiä ja painavat ulkokehää vähemmän"),
            ("Mitokondriot",
             "Palade kuvasi elektronimikroskoopin avulla mitokondrioiden sisäkalvon poimut eli "
             "kristat, joissa soluhengityksen entsyymit sijaitsevat.",
             "Mitä nimeä käytetään mitokondrioiden sisäkalvon poimuista?", "kristat"),
        ),
    ),
    "fr": Language(
        "French", ("Sujet", "Texte", "Question", "Réponse"), (
            ("Chutes du Rhin",
             "Lors d'un été moyen, environ 600 mètres cubes d'eau par seconde se déversent des "
             "chutes du Rhin, larges de 150 mètres.",
             "Quelle quantité d'eau coule chaque seconde aux chutes du Rhin en été ?",
             "environ 600 mètres cubes"),
            ("Télétravail",
             "Les demandes sont déposées sur le portail des déplacements avant le dixième jour du "
             "mois suivant, et le supérieur hiérarchique doit signer l'attestation jointe.",
             "Qui doit signer l'attestation jointe à une demande de télétravail ?",
             "le supérieur hiérarchique"),
            ("Roulements",
             "Les roulements en céramique chauffent moins que ceux en acier parce que les billes "
             "sont plus légères et appuient moins sur la bague extérieure à grande vitesse.",
             "Pourquoi les roulements en céramique chauffent-ils moins que ceux en acier ?",
             "parce que les billes sont plus légères et appuient moins sur la bague extérieure"),
            ("Mitochondries",
             "Grâce à la microscopie électronique, Palade a décrit les replis de la membrane "
             "interne des mitochondries, qui sont appelés crêtes et portent les enzymes "
             "respiratoires.",
             "Comment appelle-t-on les replis de la membrane interne des mitochondries ?",
             "crêtes"),
        ),
    ),
    "hi": Language(
        "Hindi", ("विषय", "पाठ", "प्रश्न", "उत्तर"), (
            ("राइन जलप्रपात",
             "सामान्य गर्मियों में 150 मीटर चौड़े राइन जलप्रपात से हर सेकंड लगभग 600 घन मीटर पानी "
             "गिरता है।",
             "गर्मियों में राइन जलप्रपात से हर सेकंड कितना पानी गिरता है?", "लगभग 600 घन मीटर"),
            ("घर से काम",
             "आवेदन अगले महीने की दसवीं तारीख से पहले यात्रा पोर्टल पर जमा किए जाते हैं और उनके "
             "साथ संलग्न बयान पर विभाग प्रबंधक हस्ताक्षर करते हैं।",
             "घर से काम के आवेदन के साथ संलग्न बयान पर कौन हस्ताक्षर करता है?", "विभाग प्रबंधक"),
            ("बेयरिंग",
             "सिरेमिक बेयरिंग स्टील के बेयरिंग से कम गर्म होते हैं, क्योंकि उनकी गोलियाँ हल्की "
             "होती हैं और तेज़ गति पर बाहरी वलय को कम दबाती हैं।",
             "सिरेमिक बेयरिंग स्टील के बेयरिंग से कम गर्म क्यों होते हैं?",
             "क्योंकि उनकी गोलियाँ हल्की होती हैं और तेज़ गति पर बाहरी वलय को कम दबाती हैं"),
            ("माइटोकॉन्ड्रिया",
             "इलेक्ट्रॉन सूक्ष्मदर्शी की मदद से पैलेड ने माइटोकॉन्ड्रिया की भीतरी झिल्ली की तहों "
             "का वर्णन किया, जिन्हें क्रिस्टी कहते हैं और जिनमें श्वसन के एंजाइम होते हैं।",
             "माइटोकॉन्ड्रिया की भीतरी झिल्ली की तहों को क्या कहते हैं?", "क्रिस्टी"),
        ),
    ),
    "it": Language(
        "Italian", ("Argomento", "Testo", "Domanda", "Risposta"), (
            ("Cascate del Reno",
             "In un'estate normale circa 600 metri cubi d'acqua al secondo precipitano dalle "
             "cascate del Reno, larghe 150 metri.",
             "Quanta acqua precipita ogni secondo dalle cascate del Reno in estate?",
             "circa 600 metri cubi"),
            ("Lavoro da casa",
             "Le richieste vanno presentate sul portale dei viaggi prima del decimo giorno del "
             "mese successivo e il diretto superiore deve firmare la dichiarazione allegata.",
             "Chi deve firmare la dichiarazione allegata a una richiesta di lavoro da casa?",
             "il diretto superiore"),
            ("Cuscinetti a sfere",
             "I cuscinetti in ceramica si scaldano meno di quelli in acciaio perché le sfere sono "
             "più leggere e premono meno contro l'anello esterno ad alta velocità.",
             "Perché i cuscinetti in ceramica si scaldano meno di quelli in acciaio?",
             "perché le sfere sono più leggere e premono meno contro l'anello esterno"),
            ("Mitocondri",
             "Con la microscopia elettronica Palade descrisse le pieghe della membrana interna "
             "dei mitocondri, che si chiamano creste e portano gli enzimi respiratori.",
             "Come si chiamano le pieghe della membrana interna dei mitocondri?", "creste"),
        ),
    ),
    "ja": Language(
        "Japanese", ("主題", "本文", "質問", "答え"), (
            ("ライン滝",
             "ライン滝は幅150メートルの滝で、平均的な夏には毎秒およそ600立方メートルの水が流れ落ち"
             "る。",
             "夏のライン滝では毎秒どれくらいの水が流れ落ちますか？", "およそ600立方メートル"),
            ("在宅勤務",
             "申請は翌月の10日より前に出張ポータルから行い、直属の上司が署名した書面を添える必要が"
             "ある。",
             "在宅勤務の申請に添える書面には誰が署名しますか？", "直属の上司"),
            ("軸受",
             "セラミック軸受が鋼の軸受より熱くなりにくいのは、玉が軽く、高速回転時に外輪を押す力が"
             "小さいためである。",
             "セラミック軸受はなぜ鋼の軸受より熱くなりにくいのですか？",
             "玉が軽く、高速回転時に外輪を押す力が小さいため"),
            ("ミトコンドリア",
             "パラーデは電子顕微鏡を使い、ミトコンドリアの内膜のひだを記述した。このひだはクリステ"
             "と呼ばれ、呼吸酵素をもつ。",
             "ミトコンドリアの内膜のひだは何と呼ばれますか？", "クリステ"),
        ),
    ),
    "ko": Language(
        "Korean", ("주제", "본문", "질문", "답변"), (
            ("라인 폭포",
             "너비가 150미터인 라인 폭포에서는 평균적인 여름에 초당 약 600세제곱미터의 물이 "
             "쏟아진다.",
             "여름에 라인 폭포에서는 초당 얼마나 많은 물이 쏟아지는가?", "약 600세제곱미터"),
            ("재택근무",
             "신청서는 다음 달 10일 전까지 출장 포털로 제출하며, 직속 상사가 서명한 확인서를 "
             "첨부해야 한다.",
             "재택근무 신청서에 첨부하는 확인서에는 누가 서명하는가?", "직속 상사"),
            ("베어링",
             "세라믹 베어링은 볼이 더 가볍고 고속에서 외륜을 누르는 힘이 작기 때문에 강철 "
             "베어링보다 열이 덜 난다.",
             "세라믹 베어링은 왜 강철 베어링보다 열이 덜 나는가?",
             "볼이 더 가볍고 고속에서 외륜을 누르는 힘이 작기 때문"),
            ("미토콘드리아",
             "펄레이드는 전자 현미경으로 미토콘드리아 내막의 주름을 관찰했는데, 이 주름은 "
             "크리스타라고 불리며 호흡 효소를 지닌다.",
             "미토콘드리아 내막의 주름을 무엇이라고 부르는가?", "크리스타"),
        ),
    ),
    "nl": Language(
        "Dutch", ("Onderwerp", "Tekst", "Vraag", "Antwoord"), (
            ("Rijnwaterval",
             "In een gemiddelde zomer stort er ongeveer 600 kubieke meter water per seconde van "
             "de Rijnwaterval, die 150 meter breed is.",
             "Hoeveel water stroomt er in de zomer per seconde over de Rijnwaterval?",
             "ongeveer 600 kubieke meter"),
            ("Thuiswerken",
             "Aanvragen worden vóór de tiende dag van de volgende maand via het reisportaal "
             "ingediend en vereisen een verklaring die door de leidinggevende is ondertekend.",
             "Wie moet de verklaring bij een aanvraag voor thuiswerken ondertekenen?",
             "de leidinggevende"),
            ("Lagers",
             "Keramische lagers worden minder warm dan stalen lagers omdat de kogels lichter zijn "
             "en bij hoge snelheid minder hard tegen de buitenring drukken.",
             "Waarom worden keramische lagers minder warm dan stalen lagers?",
             "omdat de kogels lichter zijn en bij hoge snelheid minder hard tegen de buitenring "
             "drukken"),
            ("Mitochondriën",
             "Met behulp van elektronenmicroscopie beschreef Palade de plooien van het "
             "binnenmembraan van mitochondriën, die cristae heten en de ademhalingsenzymen dragen.",
             "Hoe heten de plooien van het binnenmembraan van mitochondriën?", "cristae"),
        ),
    ),
    "no": Language(
        "Norwegian", ("Emne", "Tekst", "Spørsmål", "Svar"), (
            ("Rhinfallet",
             "En vanlig sommer renner det omtrent 600 kubikkmeter vann i sekundet over "
             "Rhinfallet, som er 150 meter bredt.",
             "Hvor mye vann renner over Rhinfallet hvert sekund om sommeren?",
             "omtrent 600 kubikkmeter"),
            ("Hjemmekontor",
             "Søknader leveres gjennom reiseportalen før den tiende dagen i neste måned og krever "
             "en erklæring som er signert av nærmeste leder.",
             "Hvem må signere erklæringen til en søknad om hjemmekontor?", "nærmeste leder"),
            ("Lagre",
             "Keramiske lagre blir mindre varme enn stållagre fordi kulene er lettere og presser "
             "mindre mot ytterringen ved høy hastighet.",
             "Hvorfor blir keramiske lagre mindre varme enn stållagre?",
             "fordi kulene er lettere og presser mindre mot ytterringen"),
            ("Mitokondrier",
             "Ved hjelp av elektronmikroskopi beskrev Palade foldene i mitokondrienes indre "
             "membran, som kalles cristae og bærer respirasjonsenzymene.",
             "Hva kalles foldene i mitokondrienes indre membran?", "cristae"),
        ),
    ),
    "pl": Language(
        "Polish", ("Temat", "Tekst", "Pytanie", "Odpowiedź"), (
            ("Wodospad na Renie",
             "Latem przez wodospad na Renie, który ma 150 metrów szerokości, przepływa zwykle "
             "około 600 metrów sześciennych wody na sekundę.",
             "Ile wody przepływa latem w ciągu sekundy przez wodospad na Renie?",
             "około 600 metrów sześciennych"),
            ("Praca zdalna",
             "Wnioski składa się przez portal podróży przed dziesiątym dniem następnego miesiąca, "
             "a dołączone do nich oświadczenie podpisuje bezpośredni przełożony.",
             "Kto podpisuje oświadczenie dołączone do wniosku o pracę zdalną?",
             "bezpośredni przełożony"),
            ("Łożyska",
             "Łożyska ceramiczne nagrzewają się mniej niż stalowe, ponieważ kulki są lżejsze i "
             "przy dużej prędkości słabiej naciskają na pierścień zewnętrzny.",
             "Dlaczego łożyska ceramiczne nagrzewają się mniej niż stalowe?",
             "ponieważ kulki są lżejsze i przy dużej prędkości słabiej naciskają na pierścień "
             "zewnętrzny"),
            ("Mitochondria",
             "Za pomocą mikroskopu elektronowego Palade opisał grzebienie, czyli fałdy "
             "wewnętrznej błony mitochondriów, na których znajdują się enzymy oddechowe.",
             "Jak nazywają się fałdy wewnętrznej błony mitochondriów?", "grzebienie"),
        ),
    ),
    "pt": Language(
        "Portuguese", ("Tema", "Texto", "Pergunta", "Resposta"), (
            ("Cataratas do Reno",
             "Num verão normal, cerca de 600 metros cúbicos de água por segundo caem pelas "
             "cataratas do Reno, que têm 150 metros de largura.",
             "Quanta água cai pelas cataratas do Reno a cada segundo no verão?",
             "cerca de 600 metros cúbicos"),
            ("Teletrabalho",
             "Os pedidos são feitos no portal de viagens antes do décimo dia do mês seguinte e o "
             "superior imediato deve assinar a declaração anexa.",
             "Quem deve assinar a declaração anexa a um pedido de teletrabalho?",
             "o superior imediato"),
            ("Rolamentos",
             "Os rolamentos de cerâmica aquecem menos do que os de aço porque as esferas são mais "
             "leves e pressionam menos o anel externo em alta velocidade.",
             "Por que os rolamentos de cerâmica aquecem menos do que os de aço?",
             "porque as esferas são mais leves e pressionam menos o anel externo"),
            ("Mitocôndrias",
             "Com a microscopia eletrônica, Palade descreveu as dobras da membrana interna das "
             "mitocôndrias, que se chamam cristas e contêm as enzimas respiratórias.",
             "Como se chamam as dobras da membrana interna das mitocôndrias?", "cristas"),
        ),
    ),
    "ro": Language(
        "Romanian", ("Subiect", "Text", "Întrebare", "Răspuns"), (
            ("Cascada Rinului",
             "Într-o vară obișnuită, aproximativ 600 de metri cubi de apă pe secundă se revarsă "
             "peste Cascada Rinului, care are o lățime de 150 de metri.",
             "Câtă apă curge vara pe secundă peste Cascada Rinului?",
             "aproximativ 600 de metri cubi"),
            ("Munca de acasă",
             "Cererile se depun prin portalul de deplasări înainte de a zecea zi a lunii "
             "următoare, iar declarația anexată trebuie semnată de superiorul direct.",
             "Cine trebuie să semneze declarația anexată la o cerere de muncă de acasă?",
             "superiorul direct"),
            ("Rulmenți",
             "Rulmenții ceramici se încălzesc mai puțin decât cei din oțel, deoarece bilele sunt "
             "mai ușoare și apasă mai puțin pe inelul exterior la viteză mare.",
             "De ce se încălzesc rulmenții ceramici mai puțin decât cei din oțel?",
             "deoarece bilele sunt mai ușoare și apasă mai puțin pe inelul exterior"),
            ("Mitocondrii",
             "Cu ajutorul microscopiei electronice, Palade a descris pliurile membranei interne a "
             "mitocondriilor, care se numesc criste și poartă enzimele respiratorii.",
             "Cum se numesc pliurile membranei interne a mitocondriilor?", "criste"),
        ),
    ),
    "ru": Language(
        "Russian", ("Тема", "Текст", "Вопрос", "Ответ"), (
            ("Рейнский водопад",
             "Обычным летом через Рейнский водопад, ширина которого 150 метров, проходит около "
             "600 кубических метров воды в секунду.",
             "Сколько воды проходит летом через Рейнский водопад каждую секунду?",
             "около 600 кубических метров"),
            ("Удалённая работа",
             "Заявления подают через портал командировок до десятого числа следующего месяца, а "
             "прилагаемое к ним согласие подписывает непосредственный руководитель.",
             "Кто подписывает согласие, прилагаемое к заявлению на удалённую работу?",
             "непосредственный руководитель"),
            ("Подшипники",
             "Керамические подшипники нагреваются меньше стальных, потому что шарики легче и на "
             "высокой скорости слабее давят на наружное кольцо.",
             "Почему керамические подшипники нагреваются меньше стальных?",
             "потому что шарики легче и на высокой скорости слабее давят на наружное кольцо"),
            ("Митохондрии",
             "С помощью электронного микроскопа Паладе описал кристы — складки внутренней "
             "мембраны митохондрий, на которых расположены дыхательные ферменты.",
             "Как называются складки внутренней мембраны митохондрий?", "кристы"),
        ),
    ),
    "sw": Language(
        "Swahili", ("Mada", "Matini", "Swali", "Jibu"), (
            ("Maporomoko ya Rhine",
             "Wakati wa kiangazi cha kawaida, takriban mita za ujazo 600 za maji hutiririka kila "
             "sekunde kwenye Maporomoko ya Rhine, ambayo yana upana wa mita 150.",
             "Ni maji kiasi gani hutiririka kwenye Maporomoko ya Rhine kila sekunde wakati wa "
             "kiangazi?",
             "takriban mita za ujazo 600"),
            ("Kufanya kazi nyumbani",
             "Maombi huwasilishwa kupitia tovuti ya safari kabla ya siku ya kumi ya mwezi "
             "unaofuata, na tamko linaloambatanishwa hutiwa saini na msimamizi wa kazi.",
             "Nani hutia saini tamko linaloambatanishwa na maombi ya kufanya kazi nyumbani?",
             "msimamizi wa kazi"),
            ("Beringi",
             "Beringi za kauri hupata joto kidogo kuliko za chuma kwa sababu gololi zake ni "
             "nyepesi zaidi na husukuma pete ya nje kwa nguvu ndogo zinapozunguka kwa kasi.",
             "Kwa nini beringi za kauri hupata joto kidogo kuliko beringi za chuma?",
             "kwa sababu gololi zake ni nyepesi zaidi na husukuma pete ya nje kwa nguvu ndogo"),
            ("Mitokondria",
             "Kwa kutumia hadubini ya elektroni, Palade alieleza mikunjo ya utando wa ndani wa "
             "mitokondria, ambayo huitwa krista na hubeba vimeng'enya vya upumuaji.",
             "Mikunjo ya utando wa ndani wa mitokondria huitwaje?", "krista"),
        ),
    ),
    "th": Language(
        "Thai", ("หัวข้อ", "ข้อความ", "คำถาม", "คำตอบ"), (
            ("น้ำตกไรน์",
             "ในฤดูร้อนปกติ น้ำประมาณ 600 ลูกบาศก์เมตรต่อวินาทีจะไหลผ่านน้ำตกไรน์ซึ่งกว้าง 150 "
             "เมตร",
             "ในฤดูร้อนมีน้ำไหลผ่านน้ำตกไรน์วินาทีละเท่าใด", "ประมาณ 600 ลูกบาศก์เมตร"),
            ("การทำงานจากที่บ้าน", "คำขอต้องยื่นผ่านระบบการเดินทางก่อนวันที่ 10 ของเดือนถัดไป "
             "และต้องแนบหนังสือรับรองที่ลงนามโดยหัวหน้างานโดยตรง",
             "ใครต้องลงนามในหนังสือรับรองสำหรับคำขอทำงานจากที่บ้าน", "หัวหน้างานโดยตรง"),
            ("ตลับลูกปืน",
             "ตลับลูกปืนเซรามิกร้อนน้อยกว่าแบบเหล็ก เพราะลูกปืนมีน้ำหนักเบากว่าและกดวงแหวนนอกน้อยก"
             "ว่าเมื่อหมุนด้วยความเร็วสูง",
             "ทำไมตลับลูกปืนเซรามิกจึงร้อนน้อยกว่าตลับลูกปืนเหล็ก",
             "เพราะลูกปืนมีน้ำหนักเบากว่าและกดวงแหวนนอกน้อยกว่า"),
            ("ไมโทคอนเดรีย",
             "พาเลดใช้กล้องจุลทรรศน์อิเล็กตรอนอธิบายรอยพับของเยื่อหุ้มชั้นในของไมโทคอนเดรีย ซึ่งเร"
             "ียกว่าคริสตีและมีเอนไซม์ที่ใช้ในการหายใจ",
             "รอยพับของเยื่อหุ้มชั้นในของไมโทคอนเดรียเรียกว่าอะไร", "คริสตี"),
        ),
    ),
    "tr": Language(
        "Turkish", ("Konu", "Metin", "Soru", "Cevap"), (
            ("Ren Şelalesi",
             "Ortalama bir yazda 150 metre genişliğindeki Ren Şelalesi'nden saniyede yaklaşık 600 "
             "metreküp su dökülür.",
             "Yazın Ren Şelalesi'nden saniyede ne kadar su dökülür?", "yaklaşık 600 metreküp"),
            ("Evden çalışma",
             "Başvurular ertesi ayın onuncu gününden önce seyahat portalı üzerinden yapılır ve "
             "ekteki beyanı birim yöneticisi imzalar.",
             "Evden çalışma başvurusunun ekindeki beyanı kim imzalar?", "birim yöneticisi"),
            ("Rulmanlar",
             "Seramik rulmanlar çelik rulmanlardan daha az ısınır, çünkü bilyeleri daha hafiftir "
             "ve yüksek hızda dış bileziğe daha az baskı yapar.",
             "Seramik rulmanlar neden çelik rulmanlardan daha az ısınır?",
             "çünkü bilyeleri daha hafiftir ve yüksek hızda dış bileziğe daha az baskı yapar"),
            ("Mitokondri",
             "Palade, elektron mikroskobuyla mitokondrinin iç zarındaki kıvrımları tanımladı; "
             "krista adı verilen bu kıvrımlar solunum enzimlerini taşır.",
             "Mitokondrinin iç zarındaki kıvrımlara ne ad verilir?", "krista"),
        ),
    ),
    "vi": Language(
        "Vietnamese", ("Chủ đề", "Văn bản", "Câu hỏi", "Trả lời"), (
            ("Thác Rhine",
             "Vào một mùa hè bình thường, khoảng 600 mét khối nước mỗi giây đổ xuống thác Rhine, "
             "thác nước rộng 150 mét.",
             "Vào mùa hè, mỗi giây có bao nhiêu nước đổ xuống thác Rhine?", "khoảng 600 mét khối"),
            ("Làm việc tại nhà",
             "Đơn được nộp qua cổng thông tin công tác trước ngày mười của tháng tiếp theo và "
             "phải kèm bản xác nhận có chữ ký của người quản lý trực tiếp.",
             "Ai phải ký bản xác nhận kèm theo đơn xin làm việc tại nhà?",
             "người quản lý trực tiếp"),
            ("Vòng bi",
             "Vòng bi gốm ít nóng hơn vòng bi thép vì các viên bi nhẹ hơn và ép lên vòng ngoài ít "
             "hơn khi quay ở tốc độ cao.",
             "Vì sao vòng bi gốm ít nóng hơn vòng bi thép?",
             "vì các viên bi nhẹ hơn và ép lên vòng ngoài ít hơn"),
            ("Ty thể",
             "Nhờ kính hiển vi điện tử, Palade đã mô tả các nếp gấp của màng trong ty thể, được "
             "gọi là mào và mang các enzym hô hấp.",
             "Các nếp gấp của màng trong ty thể được gọi là gì?", "mào"),
        ),
    ),
    "zh": Language(
        "Chinese", ("主题", "文本", "问题", "答案"), (
            ("莱茵瀑布", "莱茵瀑布宽150米，夏季平均每秒有约600立方米的水从这里倾泻而下。",
             "夏季每秒有多少水流过莱茵瀑布？", "约600立方米"),
            ("居家办公", "申请须在次月10日之前通过差旅平台提交，并附上由直属主管签字的说明。",
             "居家办公申请所附的说明由谁签字？", "直属主管"),
            ("轴承",
             "陶瓷轴承之所以不像钢轴承那样容易发热，是因为滚珠更轻，高速转动时对外圈的压力更小。",
             "陶瓷轴承为什么不像钢轴承那样容易发热？", "因为滚珠更轻，高速转动时对外圈的压力更小"),
            ("线粒体", "帕拉德用电子显微镜描述了线粒体内膜的褶皱，这些褶皱称为嵴，带有呼吸酶。",
             "线粒体内膜的褶皱叫什么？", "嵴"),
        ),
    ),
}
# fmt: on


def code_of(name: str) -> str | None:
    """The code of a language by its English name or code; None where it is not among these."""
    wanted = fold(name)
    known = (code for code, one in LANGUAGES.items() if wanted in (code, fold(one.name)))
    return next(known, None)
