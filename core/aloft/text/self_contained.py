"""Decides whether a question refers to a text that its asker has not seen.

"What does the author say?" names nothing to search for; "Who is the author of Faust?" does. Every
pattern requires the phrase and its surroundings: a demonstrative, "according to", or a clause that
ends there and names no text. Where the two cannot be told apart, the question passes.
"""

import re
import unicodedata
from functools import cache

_END = r"(?=\s*(?:[?？!,，、.。;:)»”\"؟،।]|$))"  # the clause ends: no name of a text follows
_NAME = r"(?-i:[A-ZÀ-ÖØ-ÞĀĄĆČĘŁŃŚŠŹŻŽȘȚΑ-ΩА-Я\d§\"'«„“‘])"  # a name, number or title follows


def _romance(words: str) -> str:
    """The clause ends, or goes on with something that is no name of a text."""
    return rf"(?:{_END}|(?=\s(?:{words})\b))"


_EN_TEXT = "text|passage|paragraph|excerpt|extract|snippet"
_EN_WORK = "article|document|study|paper|report"
_EN_SAY = (
    "say|state|mention|describe|discuss|suggest|claim|argue|conclude|explain|indicate|note|define|"
    "list|report|show|find|examine|investigate|focus|propose|recommend|refer|emphasi[sz]e|"
    "highlight|present|cover|identify|cite|compare|include|exclude|use|talk|address|reveal|aim"
)
_EN_SAID = (
    "mentioned|described|stated|discussed|listed|given|presented|reported|used|shown|studied|"
    "reviewed|referred to|provided|named|cited|included|analy[sz]ed|highlighted"
)
_EN_PART = (
    "aim|argument|author|conclusion|finding|focus|goal|limitation|main (?:aim|finding|idea|point|"
    "result|theme|topic)|methodology|objective|purpose|subject|summary|theme|title|topic|writer"
)
_NOT_EN = (
    r"(?!\s(?:of|by|on|that|which|who|whose|behind|called|titled|entitled|area|box|editor|field|file|"
    rf"format|message|messaging|mode|node|string)s?\b|\s{_NAME})"
)

_DE_TEXT = (
    r"(?:Text(?:abschnitt|auszug|ausschnitt)?|Absatz|Abschnitt|Auszug)(?:e?s)?|Textstelle|Passage"
)
_DE_WORK = r"(?:Artikel|Dokument|Bericht|Beitrag|Aufsatz)(?:e?s)?|Studie"
_DE_AUTHOR = r"(?:Autor(?:in|en|innen)?|Verfasser(?:in|innen|s)?)"
_NOT_DE = (
    rf"(?!,\s(?:de[rmn]|dessen|deren|die|das)\b|\s(?:de[srmn]|von|vom|zum|zur|aus)\b|\s{_NAME})"
)
_DE_SAY = (
    "sagt|beschreibt|erwähnt|nennt|behauptet|erklärt|meint|schreibt|argumentiert|diskutiert|"
    "behandelt|handelt|besagt|berichtet|zeigt|denkt|glaubt|empfiehlt|schließt|vertritt"
)

_FR_TEXT = "texte|passage|paragraphe|extrait"
_FR_AFTER = _romance(
    "ci-dessus|ci-dessous|suivant|fourni|donné|est|sont|était|a|ont|il|elle|quel|quels|quelle|"
    "quelles|qui est|qu'est|sur|à propos|au sujet|concernant|combien|où|quand|comment|pourquoi"
)
_FR_SAY = (
    "dit|parle|mentionne|décrit|évoque|indique|précise|affirme|explique|pense|cite|traite|"
    "soutient|suggère|conclut|présente|raconte|veut dire|désigne|entend"
)

_ES_TEXT = r"texto|pasaje|p[áa]rrafo|fragmento|extracto"
_ES_WORK = r"art[íi]culo|documento|estudio|informe"
_ES_AFTER = _romance(
    "anterior|siguiente|proporcionado|dado|se|es|son|fue|qué|cuál|cuáles|quién|quiénes|cuándo|"
    "dónde|cómo|cuánto|cuánta|cuántos|cuántas|por qué|sobre"
)
_ES_SAY = (
    "dice|menciona|describe|afirma|sostiene|habla|explica|indica|señala|sugiere|piensa|opina|trata|"
    "cita|concluye|presenta|plantea|cree|se refiere|quiere decir|argumenta"
)

_PT_TEXT = r"texto|trecho|par[áa]grafo|excerto|fragmento"
_PT_WORK = r"artigo|documento|estudo|relatório"
_PT_AFTER = _romance(
    "acima|anterior|seguinte|fornecido|dado|se|é|são|foi|qual|quais|quem|quando|onde|como|quanto|"
    "quanta|quantos|quantas|por que|sobre|o que|em relação"
)
_PT_SAY = (
    "diz|menciona|descreve|afirma|fala|trata|cita|sugere|pensa|defende|aborda|explica|argumenta|"
    "relata|indica|conclui|apresenta|acredita|se refere|quer dizer|destaca"
)

_IT_TEXT = "testo|brano|paragrafo|estratto|passo|passaggio"
_IT_AFTER = _romance(
    "precedente|seguente|fornito|riportato|si|viene|vengono|è|sono|qual|quale|quali|chi|cosa|"
    "che cosa|quando|dove|come|perch[eé]|quanto|quanta|quanti|quante|riguardo|a proposito|su|sul|"
    "sulla|sui|sulle"
)
_IT_SAY = (
    "dice|parla|menziona|descrive|afferma|sostiene|tratta|pensa|intende|spiega|riferisce|cita|"
    "scrive|indica|suggerisce|conclude|presenta|crede|si riferisce|vuole dire"
)

_RO_TEXT = "text|pasaj|paragraf|fragment|extras"
_RO_WORK = "articol|document|raport|studiu"
_RO_AFTER = _romance(
    r"de mai sus|dat|următor|prezentat|se|este|sunt|a fost|cine|ce|care|când|unde|cum|de ce|"
    r"c[âa]t|c[âa]tă|c[âa]te|c[âa]ți|cui|despre"
)
_RO_SAY = (
    "spune|menționează|descrie|afirmă|susține|vorbește|crede|tratează|prezintă|indică|explică|"
    "sugerează|se referă|concluzionează|consideră"
)

_NO_TEXT = "teksten|avsnittet|utdraget|passasjen|tekstutdraget|artikkelen|dokumentet"
_NO_MORE = "studien|rapporten|forfatteren|forfatterne"
_NOT_NO = rf"(?!\s(?:av|fra|til|på|som)\b|\s{_NAME})"
_NO_SAY = (
    "sier|nevner|beskriver|handler|omtaler|hevder|mener|skriver|forteller|forklarer|viser|tror|"
    "konkluderer|diskuterer|anbefaler|påstår"
)

_NL_TEXT = "tekst|passage|alinea|fragment|tekstfragment|artikel|document"
_NL_MORE = "studie|rapport|onderzoek|auteur|auteurs|schrijver"
_NOT_NL = rf"(?!\s(?:van|uit|dat|die|waarin)\b|\s{_NAME})"
_NL_SAY = (
    "zegt|vermeldt|noemt|beschrijft|beweert|gaat|vindt|denkt|stelt|bedoelt|schrijft|meldt|"
    "concludeert|bespreekt|behandelt|suggereert"
)

_PL_AFTER = (
    rf"(?:{_END}|(?=\s(?:jest|są|był\w*|kto|co|kiedy|gdzie|jak\w*|ile|ilu|dlaczego|czym|czego|kogo|"
    r"który|która|które|o|\w+(?:uje|ują|ają|ano|ono|ło|ł|ły|li))\b))"
)
_PL_SAY = (
    "mówi|wspomina|opisuje|twierdzi|uważa|pisze|podaje|sugeruje|omawia|dotyczy|stwierdza|"
    "wymienia|ma na myśli|sądzi"
)

_RU_AFTER = (
    rf"(?:{_END}|(?=\s(?:кто|что|как\w*|где|когда|сколько|почему|чем|чему|кого|чего|о|об|к|под)\b))"
)
_RU_TEXT = r"(?:текст|отрыв[ок]|абзац|фрагмент|стать|документ|исследовани)\w*"
_RU_SAY = (
    r"(?:говорит|упомина|описыва|утвержда|счита|пишет|пишут|рассказыва|имеет в виду|полага|"
    r"подч[её]ркива|отмеча|предлага|приводи)\w*"
)

_FI_SAY = "kertoo|sanoo|mainitsee|kuvaa|kuvailee|väittää|käsittelee|toteaa|tarkoittaa|esittää"
_EL_WHAT = (
    "κείμενο|κειμένου|απόσπασμα|αποσπάσματος|παράγραφος?|παραγράφου|άρθρο|άρθρου|έγγραφο|εγγράφου|"
    "μελέτης?|συγγραφέας?|συγγραφείς|συγγραφέων"
)
_NOT_EL = rf"(?!\s(?:του|της|των|που|με τίτλο)\b|\s{_NAME})"
_TR_SAY = r"(?=.*(?:söyl|anlat|bahse|belirt|açıkla|değin|ifade|savun|düşün|iddia|vurgula))"
_AR_TEXT = "نص|فقرة|مقطع|مقتطف|مقال|مقالة|وثيقة|مستند|دراسة|تقرير|مؤلف|كاتب|قطعة"
_AR_AUTHOR = (
    rf"(?:المؤلف|الكاتب|الكاتبة|المؤلفون)(?:{_END}|(?=\s(?:ان|انه|عن|في|حول|من|الى|هنا)\b))"
)
_HI = "(?<![\u0900-\u097f])"  # in Devanagari \b does not part words
_HI_END = "(?![\u0900-\u097f])"
_HI_TEXT = "पाठ|अनुच्छेद|गद्यांश|परिच्छेद|लेख|पैराग्राफ|उद्धरण"
_TH_TEXT = "ข้อความ|บทความ|ย่อหน้า|เนื้อหา|บทอ่าน|เนื้อเรื่อง"
_VI_TEXT = "văn bản|đoạn văn|đoạn trích|bài đọc|bài viết|bài báo|tài liệu"
_VI_AFTER = (
    rf"(?:{_END}|(?=\s(?:trên|này|thì|ai|cái gì|điều gì|bao nhiêu|khi nào|tại sao|vì sao|đâu)\b))"
)
_ZH_TEXT = "文章|文本|段落|文段|短文|段文字|段话|段話|論文|论文|篇报道|篇報道|节选|摘录"
_KO_TEXT = "글|본문|지문|텍스트|단락|문단|기사|문서|논문|구절|발췌문|자료|보고서|연구"
_KO_TAIL = r"(?=에|의|은|는|이|가|을|를|과|와|로|,|\s|\?|$)"

_PATTERNS: dict[str, tuple[str, ...]] = {
    "en": (
        rf"\b(?:this|these|our) (?:[a-z]+ )?(?:{_EN_TEXT}|{_EN_WORK}|context|chapter|publication|"
        r"research|section)s?\b(?! (?:of|in)\b)|\b(?:by|in|of) this work\b",
        rf"\bthe (?:given|following|provided|preceding|previous|accompanying) (?:{_EN_TEXT}|"
        rf"{_EN_WORK}|context|section|sentence)s?\b",
        rf"\bthe above\b(?!-)|\bin the context{_END}|\b(?:for|of|about|behind) this{_END}",
        rf"\bthe (?:{_EN_TEXT}|{_EN_WORK})s? (?:above|below|provided)\b",
        rf"\baccording to the (?:{_EN_TEXT}|{_EN_WORK}|authors?|writer|narrator)\b{_NOT_EN}",
        rf"\b(?:in|from|by|of|with|to) the (?:{_EN_TEXT})\b{_NOT_EN}",
        rf"\b(?:in|from|by|of|for|to) the (?:study|article|authors?)\b{_END}|\bin the "
        rf"report\b{_END}",
        rf"\b(?:do|does|did|is|was|can|could|has|have) the (?:{_EN_TEXT}|authors?|"
        rf"narrator)\b{_NOT_EN}",
        rf"\b(?:do|does|did|can|could) the (?:{_EN_WORK}) (?:{_EN_SAY})\b",
        rf"\b(?:{_EN_SAID}) (?:in|by) the (?:{_EN_TEXT}|{_EN_WORK}|authors?)\b{_NOT_EN}",
        rf"\b(?:{_EN_PART})s? of the (?:{_EN_TEXT}|{_EN_WORK})\b{_NOT_EN}",
        rf"\bthe (?:{_EN_TEXT}|article|study)'s\b",
        rf"\bthe (?:authors'|author's) (?!{_NAME})",
        rf"\b(?:mentioned|described|discussed|listed|referred to) (?:above|here|earlier){_END}",
        rf"\bthe (?:first|second|last|final) (?:paragraph|sentence)\b{_NOT_EN}",
        rf"^what is the (?:main )?(?:topic|subject|title|theme){_END}",
    ),
    "ar": (
        r"(?:هذا (?:النص|المقطع|المقال|المقتطف|المستند|التقرير|البحث)|هذه (?:الفقرة|المقالة|"
        r"الوثيقة|الدراسة|القطعة))\b",
        r"\b(?:النص|الفقرة|المقطع|المقال|المقالة) (?:اعلاه|السابقة?|التالية?|المعطاة?|المذكورة?)\b",
        r"\b(?:وفقا لل|طبقا لل|استنادا لل|(?:وفق|حسب|بحسب|بناء على|استنادا الى) "
        rf"ال)(?:{_AR_TEXT})\b(?! ال)",
        r"\b(?:في|من) (?:النص|الفقرة|المقتطف|المقال|المقالة)\b(?! ال)",
        r"\bالمذكور(?:ة|ين)? (?:اعلاه|هنا|سابقا)\b",
        r"\b(?:عنوان|موضوع|كاتب|مؤلف|فكرة|هدف|غرض) (?:النص|المقال|المقالة|الفقرة|الدراسة|"
        r"الوثيقة)\b(?! ال)",
        r"\b(?:يقول|يذكر|يصف|يشير|يوضح|يتحدث|يناقش|ذكر|اشار|وصف|يتناول) (?:النص|المقطع|"
        r"المقال)\b(?! ال)",
        r"\bت(?:قول|ذكر|صف|شير|وضح|تحدث|ناقش|تناول) (?:الفقرة|المقالة|الوثيقة|الدراسة)\b(?! ال)",
        rf"\b(?:يقول|يذكر|يصف|يشير|يوضح|يرى|يعتقد|ذكر|يقصد|راي|نظر|يتحدث) {_AR_AUTHOR}",
    ),
    "de": (
        rf"\bdies(?:er|em|es|en|e) (?:{_DE_TEXT}|{_DE_WORK})\b{_NOT_DE}",
        r"\b(?:obig|vorliegend|gegeben|folgend|angegeben|vorstehend|obenstehend)e[nmrs]? "
        rf"(?:{_DE_TEXT}|{_DE_WORK})\b",
        rf"\b(?:laut|gemäß|nach)(?: de[rmn])? (?:{_DE_TEXT}|{_DE_WORK}|{_DE_AUTHOR})\b{_NOT_DE}",
        rf"\b(?:im|dem|vom) (?:{_DE_TEXT}|{_DE_WORK})\b (?:zufolge|nach\b{_END}|erwähnt|genannt|"
        r"beschrieben|behandelt|gesagt|dargestellt|aufgeführt|thematisiert)",
        rf"\b(?:im|aus dem|in dem) (?:Text|Textabschnitt|Textauszug|Auszug|Absatz)\b{_NOT_DE}",
        rf"\b(?:{_DE_SAY}) (?:der|die|das|den) (?:{_DE_TEXT}|{_DE_WORK}|{_DE_AUTHOR})\b{_NOT_DE}",
        rf"\b(?:\w+t|\w+en|kann|will|war) (?:der|die) {_DE_AUTHOR}\b{_NOT_DE}",
        r"\b(?:Titel|Thema|Inhalt|Autor\w*|Verfasser\w*|\w*aussage|\w*gedanke|Ziel|Zweck|"
        r"Gegenstand|Absicht|Überschrift)s? (?:des (?:Text|Artikel|Dokument|Absatz|Auszug|Bericht|"
        rf"Aufsatz)(?:e?s)|der (?:Passage|Studie))\b{_NOT_DE}",
        r"\b(?:oben|hier) (?:erwähnt|genannt|beschrieben)",
    ),
    "el": (
        r"\b(?:αυτ(?:ό|ού|ή|ής|ήν|ός) (?:το|του|την?|της|η|ο)|το παρόν|το παραπάνω|το "
        r"συγκεκριμένο|το δεδομένο|στο παρακάτω|στο παραπάνω|στην παραπάνω|του παραπάνω) "
        rf"(?:{_EL_WHAT})\b",
        rf"\b(?:σύμφωνα με|με βάση|βάσει) (?:το[νυ]?|την?|της|τους) (?:{_EL_WHAT})\b{_NOT_EL}",
        rf"\b(?:στο|στην?|από το|από την) (?:κείμενο|απόσπασμα|παράγραφο)\b{_NOT_EL}",
        r"\b(?:λέει|αναφέρει|περιγράφει|υποστηρίζει|μιλά|πραγματεύεται|εννοεί|πιστεύει|θεωρεί|"
        rf"γράφει|εξηγεί|προτείνει) (?:το|ο|η|οι) (?:{_EL_WHAT})\b{_NOT_EL}",
        r"\b(?:τίτλο\w*|θέμα|σκοπό\w*|συγγραφέα\w*|νόημα|ιδέα) (?:του (?:κειμένου|άρθρου|εγγράφου|"
        rf"αποσπάσματος)|της (?:παραγράφου|μελέτης))\b{_NOT_EL}",
        rf"\bπου αναφέρ\w+ (?:παραπάνω|εδώ|στο (?:κείμενο|άρθρο|απόσπασμα)){_END}",
    ),
    "es": (
        rf"\b(?:este|ese|dicho|el presente) (?:{_ES_TEXT}|{_ES_WORK})\b(?!\s\d)",
        r"\b(?:seg[úu]n|de acuerdo (?:con|a)|conforme a|con base en) (?:lo que dice )?(?:el |la |"
        rf"los )(?:{_ES_TEXT}|{_ES_WORK}|autor|autora|autores)\b{_ES_AFTER}",
        rf"\bde acuerdo al (?:{_ES_TEXT}|{_ES_WORK}|autor)\b{_ES_AFTER}",
        rf"\b(?:en el|del|al) (?:{_ES_TEXT})\b{_ES_AFTER}",
        rf"\b(?:{_ES_SAY}) (?:el|la|los) (?:{_ES_TEXT}|{_ES_WORK}|autor|autora|"
        rf"autores)\b{_ES_AFTER}",
        rf"\b(?:el|los|la) (?:{_ES_TEXT}|autor|autora) (?:{_ES_SAY})\b",
        r"\b(?:título|tema|autor|autora|objetivo|propósito|idea principal|conclusión|finalidad) "
        rf"del (?:{_ES_TEXT}|{_ES_WORK})\b{_ES_AFTER}",
        rf"\b(?:mencionad|descrit|citad)[oa]s? (?:arriba|aquí|anteriormente|en el (?:{_ES_TEXT}|"
        rf"{_ES_WORK})){_END}",
        rf"\b(?:del|por el|por los|de los) autor(?:es)?\b{_END}",
    ),
    "fi": (
        r"\b(?:tämä[nä]?|tässä|tästä|tähän|tätä|kyseise\w+|annetu\w+|oheise\w+|yllä oleva\w*|"
        r"edellä oleva\w*|seuraava\w*) (?:teksti(?!il)\w*|katkelma\w*|tekstikatkelma\w*|"
        r"kappaleessa|kappaleen mukaan|artikkeli\w*|asiakirja\w*|dokument\w*|tutkimukse\w*|"
        r"tutkimus|raporti\w*)\b",
        r"(?<!\w\wn )\b(?:tekstin|katkelman|kappaleen|artikkelin|asiakirjan|dokumentin|"
        r"kirjoittajan|kirjoittajien|tekijän|tekijöiden|tutkimuksen|raportin) mukaan\b",
        r"(?<!\w\wn )(?<!ss[aä] )(?<!st[aä] )\b(?:tekstissä|katkelmassa|artikkelissa|tekstistä)\b",
        rf"\b(?:{_FI_SAY}) (?:teksti|artikkeli|katkelma|kirjoittaja|asiakirja)\b",
        rf"(?<!kä )(?<!mä )\b(?:teksti|artikkeli|kirjoittaja) (?:{_FI_SAY})\b",
        r"(?<!\w\wn )\b(?:tekstin|artikkelin|katkelman|asiakirjan) (?:kirjoittaja|aihe|pääajatu|"
        r"otsikko|otsiko|tarkoitu|pääkohta|tekijä)\w*",
        r"\b(?:edellä|yllä|tässä) (?:maini|kuvat)\w+",
    ),
    "fr": (
        rf"\b(?:ce|le présent) (?:{_FR_TEXT}|document|rapport|chapitre)\b(?! de\b)",
        r"\b(?:cet (?:article|extrait)|cette étude)\b",
        rf"\b(?:selon|d'après|suivant) (?:le|l'|la|les|ce|cet|cette) ?(?:{_FR_TEXT}|article|"
        rf"document|étude|rapport|auteure?s?|autrice)\b{_FR_AFTER}",
        rf"\b(?:dans le|du|au) (?:texte|paragraphe)\b{_FR_AFTER}",
        rf"\b(?:dans|de) l'(?:extrait|article|auteure?)\b{_END}",
        rf"\bdans le (?:passage|document)\b{_END}",
        rf"\b(?:{_FR_SAY})(?:ent|nt)?(?:-t-il)? (?:le (?:texte|passage|paragraphe|document)|"
        rf"l'(?:extrait|article|auteure?)|les auteurs|l'étude)\b{_FR_AFTER}",
        r"\b(?:le texte|l'auteure?|l'article|les auteurs|le passage|l'extrait) (?:(?:ne|n'|en|se|"
        r"s'|l'|y) ?)?(?:a-t|ont|\w+(?:-t)?)-(?:il|elle|ils|elles)\b",
        rf"\b(?:le texte|l'auteure?|l'article) (?:{_FR_SAY})\b",
        r"\b(?:titre|sujet|thème|auteure?|but|objectif|idée principale) (?:du (?:texte|passage|"
        rf"document|paragraphe)|de l'(?:article|extrait|étude))\b{_FR_AFTER}",
        rf"\b(?:mentionné|cité|décrit|évoqué)e?s? (?:ci-dessus|plus haut|ici){_END}",
        rf"\b(?:par|chez) (?:l'auteure?|les auteurs){_END}",
    ),
    "hi": (
        rf"{_HI}(?:इस|उपरोक्त|उपर्युक्त|निम्नलिखित|प्रस्तुत|दिए गए|दिये गये|दी गई|ऊपर दिए गए) "
        rf"(?:{_HI_TEXT}|दस्तावेज़?|अध्ययन|रिपोर्ट|अंश|संदर्भ|शोध){_HI_END}",
        rf"(?<!के )(?<!की )(?<!का ){_HI}(?:{_HI_TEXT}|दस्तावेज़?|लेखक|लेखिका) के (?:अनुसार|"
        r"मुताबिक)",
        rf"(?:^|[,;] )(?:{_HI_TEXT}|अध्ययन|रिपोर्ट) (?:में|के|का|की){_HI_END}",
        rf"(?<!किस )(?<!के )(?<!अपने ){_HI}(?:{_HI_TEXT}) में (?:उल्लि|उल्लेख|वर्णित|बता|कहा गया|"
        r"दिया|दी गई)",
        r"(?:^|[,;] )लेखक (?:ने|क्या|किस|क्यों|कैसे)(?![\u0900-\u097f])",
        rf"{_HI}के (?:बारे में|अनुसार|विषय में) लेखक{_HI_END}",
        rf"{_HI}(?:{_HI_TEXT}|लेखक) (?:क्या|किस बारे में|किसके बारे में) (?:कहता|बताता|कहते|बताते|"
        r"मानता|मानते|सोचते)",
        r"ऊपर (?:उल्लि|वर्णित|बताए|बताई|दिए गए)",
    ),
    "it": (
        rf"\bquest[oa'] ?(?:{_IT_TEXT}|articolo|documento|studio|rapporto|relazione)\b(?! di\b)",
        rf"\b(?:secondo|stando a|in base a) ?(?:il |l'|lo |la |gli |al |all'|allo )(?:{_IT_TEXT}|"
        rf"articolo|documento|studio|rapporto|autore|autrice|autori)\b{_IT_AFTER}",
        rf"\b(?:stando al|in base al) (?:{_IT_TEXT}|documento)\b{_IT_AFTER}",
        rf"\b(?:nel|del|dal) (?:testo|brano|paragrafo|estratto){_IT_AFTER}",
        rf"\b(?:nell'articolo|dell'autore|dall'autore|dagli autori|degli autori)\b{_END}",
        rf"\b(?:{_IT_SAY}|dicono|pensano|sostengono|affermano) (?:il |l'|lo |la |gli "
        rf")(?:{_IT_TEXT}|articolo|documento|studio|autore|autrice|autori)\b{_IT_AFTER}",
        rf"\b(?:il testo|il brano|l'articolo|l'autore) (?:{_IT_SAY})\b",
        rf"\b(?:titolo|tema|scopo|argomento|autore|obiettivo|idea principale) (?:del (?:{_IT_TEXT}|"
        rf"documento)|dell'articolo|dello studio)\b{_IT_AFTER}",
        rf"\b(?:menzionat|citat|descritt)[oaei] (?:sopra|qui|in precedenza|nel (?:{_IT_TEXT})|"
        rf"nell'articolo){_END}",
    ),
    "ja": (
        r"この(?:文章|文書|本文|記事|テキスト|パッセージ|段落|論文|資料|一節|抜粋|文中|文では|文に|"
        r"文の|文は|研究(?:で|の|に|は))",
        r"(?:^|[、。，で])(?:本文|文中|テキスト|文章)(?:中)?(?:に|で|の|から|は)(?![あっ])",
        r"(?<![のたるたい])(?:本文|文章|記事|段落|テキスト)(?:中|内)?(?:に|で)(?:よる|よれば|"
        r"おいて|述べ|書か|記載|示さ|挙げ|言及)",
        r"(?:^|(?<!の)[、。]|なぜ|どう|で|について)(?:著者|筆者|作者)(?:たち|ら)?(?:は|が|に|の|"
        r"も)(?!誰|だれ|何とい|どなた)",
        r"(?<![日基])(?:本稿|本論文|本記事|本資料|本文書|本研究)(?:で|の|に|は|が|を)",
        r"(?<!日)本書(?:で|の|に|は)",
        r"(?:上記|以下|次|前述|上)の(?:文章|文(?![字化明献学])|記事|段落|本文|テキスト|文書)",
        r"(?:^|[、。])(?:文章|記事|本文|文書|論文|この文)の(?:題名|タイトル|主題|主旨|要旨|著者|"
        r"筆者|内容|目的|テーマ)",
    ),
    "ko": (
        rf"(?:^|[\s,\"])(?:이|해당|위|위의|다음|주어진|제시된) (?:{_KO_TEXT}){_KO_TAIL}",
        rf"(?:^|[\s,\"])(?:윗글|본고|본 논문|본 연구|본 문서){_KO_TAIL}",
        r"(?:^|[\s,])(?:본문|텍스트|글쓴이|필자)(?:에|에서|의 내용에)? ?(?:따르면|의하면|나온|"
        r"언급된|나타난|설명된|제시된|서술된)",
        r"(?:^|, )(?:글|지문|기사|문서|단락|문단|저자|저자들|논문|보고서)(?:에|에서) ?(?:따르면|"
        r"의하면|나온|언급|나타난|설명|제시|서술)",
        r"(?:^|[\s,])본문(?:에서|에|은|의) ",
        r"(?:^|[\s,])(?:글쓴이|필자)(?:는|가|의|들은) ",
        r"(?:^|, )(?:글|지문)에서 ",
        r"(?<!의 )(?:^|[\s,])저자(?:는|가|들은|들이) (?!누구)",
        r"(?:^|, |[이위] )(?:글|본문|기사|논문|문서)의 (?:제목|주제|요지|저자|목적|내용|핵심)",
        r"(?:위에서|앞에서|앞서) (?:언급|설명|서술|말한)",
    ),
    "nl": (
        rf"\b(?:deze|dit|bovenstaande|onderstaande|gegeven|voorliggende|betreffende) (?:{_NL_TEXT}|"
        r"paragraaf|studie|rapport|onderzoek)\b",
        rf"\b(?:volgens|op basis van|aan de hand van) (?:de|het) (?:{_NL_TEXT}|"
        rf"{_NL_MORE})\b{_NOT_NL}",
        rf"\b(?:in|uit) (?:de|het) (?:tekst|passage|alinea|fragment|tekstfragment)\b{_NOT_NL}",
        rf"\b(?:in|uit) het artikel\b{_END}",
        rf"\b(?:{_NL_SAY}|zeggen|vinden|denken) (?:de|het) (?:{_NL_TEXT}|{_NL_MORE})\b{_NOT_NL}",
        r"\b(?:titel|onderwerp|doel|auteur|schrijver|strekking|hoofdgedachte|conclusie) van (?:de|"
        rf"het) (?:{_NL_TEXT}|studie|rapport)\b{_NOT_NL}",
        r"\b(?:hierboven|hier) (?:genoemd|vermeld|beschreven)",
    ),
    "no": (
        rf"\b(?:denne|dette|den gitte|det gitte|følgende|ovenstående) (?:{_NO_TEXT}|studien|"
        r"rapporten|tekst|avsnitt|utdrag|artikkel|dokument)\b",
        rf"\b(?:ifølge|i følge|i henhold til|basert på|ut fra) (?:{_NO_TEXT}|"
        rf"{_NO_MORE})\b{_NOT_NO}",
        rf"\b(?:i|fra|av) (?:teksten|avsnittet|utdraget|passasjen|artikkelen)\b{_NOT_NO}",
        rf"\b(?:{_NO_SAY}) (?:{_NO_TEXT}|{_NO_MORE})\b{_NOT_NO}",
        r"\b(?:tittelen|temaet|formålet|forfatteren|hovedpoenget|målet|emnet) (?:på|i|til|med|av|"
        rf"for) (?:{_NO_TEXT}|studien|rapporten)\b{_NOT_NO}",
        r"\b(?:tekstens|artikkelens|forfatterens)\b",
        rf"\b(?:nevnt|omtalt|beskrevet) (?:ovenfor|her{_END})",
    ),
    "pl": (
        r"\b(?:te[nj]|tym|tego|temu|powyższ\w+|podanym|podanego|niniejsz\w+|poniższ\w+|"
        r"przytoczon\w+|danym|danego) (?:tek[sś][tc]\w*|fragmen[tc]\w*|akapi[tc]\w*|artyku\w+|"
        r"dokumen[tc]\w*|opracowani\w+)\b",
        r"\b(?:według|zgodnie z|na podstawie|w świetle|zdaniem) (?:tekst|fragment|artykuł|"
        rf"dokument|autor|akapit)(?:u|em|a|ów|ki|ami)?\b{_PL_AFTER}",
        rf"\b(?:w|z) (?:tekście|tekstu|fragmencie|akapicie|artykule)\b{_PL_AFTER}",
        r"\b(?:wspomnian|opisan|wymienion|przedstawion|omówion|cytowan|podan)\w+ w (?:tekście|"
        rf"artykule|dokumencie|fragmencie|akapicie)\b{_PL_AFTER}",
        rf"\b(?:{_PL_SAY}) (?:tekst|artykuł|autor(?:ka|zy)?|fragment|dokument|akapit)\b{_PL_AFTER}",
        r"(?<!aki )(?<!óry )(?<!tórzy )\b(?:tekst|artykuł|autor|autorka|fragment|dokument) "
        rf"(?:{_PL_SAY})\b",
        r"\b(?:tytu[lł]\w*|temat\w*|autor\w*|cel\w*|treś\w+|myśl\w*) (?:tekstu|artykułu|fragmentu|"
        rf"dokumentu|akapitu)\b{_PL_AFTER}",
        r"\b(?:wyżej|powyżej|tutaj) (?:wspomnian|opisan|wymienion)\w+",
    ),
    "pt": (
        rf"\b(?:[dn]?este|[dn]?esse|o presente) (?:{_PT_TEXT}|{_PT_WORK})\b(?!\s\d)",
        r"\b(?:[dn]?esta|[dn]?essa) passagem\b(?! de\b)",
        rf"\b(?:segundo|conforme|de acordo com|com base n|baseado n) ?(?:[oa]s? )(?:{_PT_TEXT}|"
        rf"{_PT_WORK}|passagem|autor|autora|autores)\b{_PT_AFTER}",
        rf"\b(?:no|do|ao) (?:{_PT_TEXT})\b{_PT_AFTER}",
        rf"\b(?:{_PT_SAY}|dizem|pensam|afirmam|defendem|argumentam) (?:o|a|os) (?:{_PT_TEXT}|"
        rf"{_PT_WORK}|passagem|autor|autora|autores)\b{_PT_AFTER}",
        rf"\b(?:o texto|o artigo|o autor|a autora) (?:{_PT_SAY})\b",
        r"\b(?:título|tema|autor|autora|objetivo|propósito|ideia principal|conclusão|finalidade) "
        rf"(?:do (?:{_PT_TEXT}|{_PT_WORK})|da passagem)\b{_PT_AFTER}",
        rf"\b(?:mencionad|descrit|citad)[oa]s? (?:acima|aqui|anteriormente|no (?:{_PT_TEXT}|"
        rf"{_PT_WORK})){_END}",
        rf"\b(?:pelos?|dos?) autor(?:es)?\b{_END}",
    ),
    "ro": (
        rf"\b(?:acest|acestui|prezentul|prezentului|următorul) (?:{_RO_TEXT}|{_RO_WORK})\b",
        rf"\b(?:{_RO_TEXT}|{_RO_WORK})u(?:l|lui) (?:acesta|dat|de mai sus|următor|de față)\b",
        rf"\b(?:conform|potrivit|în conformitate cu|pe baza) (?:(?:{_RO_TEXT}|{_RO_WORK}|"
        rf"autor)u?(?:l|lui)|autorilor|studiului)\b{_RO_AFTER}",
        rf"\b(?:în|din) (?:text|pasaj|fragment|paragraf|articol)\b{_END}",
        rf"\b(?:{_RO_SAY}) (?:(?:{_RO_TEXT}|{_RO_WORK}|autor)ul|autorii|autoarea|"
        rf"studiul)\b{_RO_AFTER}",
        rf"\b(?:textul|articolul|autorul|pasajul) (?:{_RO_SAY})\b",
        rf"\b(?:titlul|titlului|tema|scopul|autorul|subiectul|ideea principală a) (?:{_RO_TEXT}|"
        rf"{_RO_WORK})ului\b{_RO_AFTER}",
        r"\b(?:menționat|descris|citat)[ăei]* (?:mai sus|aici|în (?:text|articol|pasaj|"
        rf"fragment)){_END}",
    ),
    "ru": (
        r"\b(?:эт(?:от|ом|ого|ому|им|а|ой|у|о)|данн(?:ый|ом|ого|ому|ая|ой|ую|ое)|привед[её]нн\w+|"
        r"вышеприведенн\w+|предоставленн\w+|настоящ(?:ем|ий|его|ей)|предложенн\w+) (?:текст|"
        r"отрыв[ок]|абзац|фрагмент|стать|документ|исследовани|доклад|отч[её]т)\w*",
        rf"\b(?:согласно|исходя из|судя по|в соответствии с) (?:{_RU_TEXT}|автор\w*)\b{_RU_AFTER}",
        rf"\bпо (?:мнению|словам|версии) автор(?:а|ов){_RU_AFTER}",
        rf"\b(?:в|из) (?:тексте|текста|отрывке|отрывка|абзаце|статье|фрагменте)\b{_RU_AFTER}",
        rf"\b{_RU_SAY} (?:текст|автор|авторы|статья|отрывок|документ)\b{_RU_AFTER}",
        r"\b(?:упомянут|описан|указан|привед[её]н|сказан|назван|перечислен)\w* в (?:тексте|статье|"
        rf"документе|отрывке|фрагменте|абзаце)\b{_RU_AFTER}",
        rf"(?<!кой )(?<!рый )(?<!кие )(?<!рые )\b(?:автор|авторы|текст) {_RU_SAY}",
        r"\b(?:заголов\w+|назван\w+|тем[аыуе]|автор\w*|цел[ьи]|мысль|идея|смысл) (?:текста|статьи|"
        rf"отрывка|документа|абзаца|исследования)\b{_RU_AFTER}",
        rf"\b(?:почему|зачем|что|чем|где|когда|в ч[её]м) авторы?\b(?!\s{_NAME})",
        r"\b(?:(?:выше|здесь) (?:упомянут|описан|указан)|(?:упомянут|описан|указан)\w* выше\b)",
    ),
    "sw": (
        r"\b(?:kifungu|aya|makala|matini|ripoti|hati|utafiti|andiko|maandishi|habari) (?:hiki|hii|"
        r"haya|hizi|huu|hili|hicho|iliyotolewa|kilichotolewa|yaliyotolewa|iliyo hapo juu)\b",
        r"\b(?:kulingana na|kwa mujibu wa|kutokana na) (?:kifungu|aya|makala|maandishi|matini|"
        rf"mwandishi|waandishi|hati|ripoti|utafiti)\b(?!\s(?:cha|ya|wa|la|za)\b|\s{_NAME})",
        r"\bkatika (?:kifungu|aya|makala|maandishi|matini)\b(?!\s(?:cha|ya|wa|la|za|yake|yao)\b|"
        rf"\s{_NAME})",
        r"\b(?:mwandishi|makala|kifungu|matini) (?:anase|inase|kinase|anaele|inaele|anata|inata|"
        r"kinata|anadai|alisema|anafikiri|anamaanisha)\w*",
        r"\b(?:kichwa|mada|lengo|mwandishi|wazo kuu) (?:cha|ya|la|wa) (?:makala|kifungu|aya|"
        rf"maandishi|matini|hati)\b(?!\s(?:cha|ya|wa|la|za)\b|\s{_NAME})",
        r"\b\w*(?:tajwa|elezwa) (?:hapo juu|hapa)\b",
    ),
    "th": (
        rf"(?:{_TH_TEXT}|เอกสาร|งานวิจัย|การศึกษา|ข้อเขียน|รายงาน)(?:นี้|ข้างต้น|ดังกล่าว|ที่ให้มา|"
        r"ที่กำหนด|ต่อไปนี้)",
        rf"(?:ตาม|จาก|อ้างอิง|ใน)(?:{_TH_TEXT})(?=[\s,?]|$|กล่าว|ระบุ|ได้)",
        rf"(?<!การ)(?:{_TH_TEXT}|ผู้เขียน|ผู้แต่ง)(?:ได้)?(?:กล่าวถึง|กล่าวว่า|ระบุ|พูดถึง|อธิบาย|"
        r"บอก|เชื่อว่า|คิดว่า|ต้องการ)",
        r"(?:ชื่อ|หัวข้อ|จุดประสงค์|ใจความสำคัญ|ผู้เขียน|วัตถุประสงค์)(?:เรื่อง)?(?:ของ)?(?:บทความ|"
        r"ข้อความ|เนื้อเรื่อง)(?=[\s?]|$|คือ)",
        r"(?:กล่าวถึง|กล่าวไว้|ระบุ|ระบุไว้|อธิบายไว้)(?:ข้างต้น|ในข้อความ|ในบทความ|ในย่อหน้า|"
        r"ในเนื้อหา)",
        r"(?:ตามที่|ความเห็นของ|ความคิดเห็นของ|มุมมองของ)ผู้เขียน(?=[\s?]|$|กล่าว|ระบุ)",
    ),
    "tr": (
        r"\b(?:bu|verilen|yukarıdaki|aşağıdaki|söz konusu|sunulan) (?:metin\w*|metn\w*|paragra\w*|"
        r"pasaj\w*|makale\w*|belge\w*|parça(?:da|ya|daki|nın)?|alıntı\w*|çalışma(?:da|ya|nın)|"
        r"yazı(?:da|ya|nın)?)\b",
        r"(?<!hangi )(?<!adlı )(?<!bir )\b(?:metne|parçaya|paragrafa|makaleye|belgeye|yazara|"
        r"yazarlara|pasaja) göre\b",
        r"(?<!hangi )(?<!adlı )(?<!bir )(?<!ki )(?<!yan )\b(?:metinde|paragrafta|pasajda|metindeki|"
        r"parçadaki|paragraftaki)\b",
        rf"^(?:metin|makale|parça)(?:, | (?!{_NAME})){_TR_SAY}",
        rf"(?:^|[,;] )yazar(?:lar)?,? (?!olarak)(?!{_NAME}){_TR_SAY}",
        r"(?:^|[,;] )yazarın (?:görüş|düşünce|amac|ana |fikr)\w*",
        r"(?<!ın )(?<!in )(?<!un )(?<!ün )\b(?:metnin|makalenin|parçanın|paragrafın|belgenin) "
        r"(?:başlı|konusu|ana |amacı|yazarı|teması)\w*",
        r"\b(?:yukarıda|burada) (?:bahs|belirt|adı geç|anlat|söz ed)\w+",
    ),
    "vi": (
        rf"\b(?:{_VI_TEXT}|nghiên cứu|báo cáo|đoạn) (?:này|đã cho|sau đây|dưới đây|ở trên|được "
        rf"cung cấp|nói trên|trên{_END})",
        rf"\b(?:theo|dựa vào|dựa trên|căn cứ vào) (?:{_VI_TEXT}|tác giả)\b{_VI_AFTER}",
        rf"\btrong (?:văn bản|đoạn văn|đoạn trích|bài đọc|bài viết|bài báo)\b{_VI_AFTER}",
        r"\b(?:văn bản|đoạn văn|đoạn trích|bài viết|bài báo|bài đọc|tác giả) (?:đã |có )?(?:nói|"
        r"cho rằng|cho biết|đề cập|nêu|mô tả|muốn|nghĩ|khẳng định|kết luận|nhắc)\b",
        r"\b(?:tiêu đề|tựa đề|chủ đề|mục đích|ý chính|nội dung chính|tác giả) của "
        rf"(?:{_VI_TEXT})\b{_VI_AFTER}",
        r"\bđược (?:nhắc đến|đề cập|đề cập đến|nói đến|mô tả|nêu) (?:ở trên|ở đây|trong (?:văn "
        rf"bản|đoạn văn|bài viết|bài báo|đoạn trích){_VI_AFTER})",
    ),
    "zh": (
        rf"(?:[这這该該此]|(?<![日基根原])本)一?(?:篇|段|份)?(?:{_ZH_TEXT})",
        r"(?:[这這该該]|(?<![日基根原])本)(?:篇|份)?(?:研究|报告|報告|文件|文档|"
        r"材料)(?![人员員者所生院机機])",
        rf"(?:上述|以上|下列|以下|所给|给定)的?(?:{_ZH_TEXT}|文字|材料|内容|原文)",
        r"(?:根据|依据|按照|根據|依據|据|從|从)(?:文章|文本|原文|本文|段落|文中|作者|短文|"
        r"文段)(?:所|内容|內容|的|中|可|来|來|，|,|？|\?|$|[谁誰什哪何多为為怎])",
        r"(?:^|[，,、。？“：])在?文中(?:所|的|提|说|說|指|描|，|,|有|认|認|将|將|作|哪|列|给|給|"
        r"还)",
        r"(?:^|[，,。？、：])在?(?:这篇|該|该)?文章(?:中|里|裡|的(?:标题|標題|题目|作者|主题|主旨|"
        r"目的)|说|說|提到|认为|認為|指出|介绍|描述|讨论|提及|主要)",
        r"(?:^|[，,。？、：])(?:本文|原文|上文|作者|笔者|筆者)(?!是[谁誰]|为谁|為誰|[是为為]何人)",
        r"(?<!的)作者(?:认为|認為|指出|提到|主张|主張|想要|如何|为什么|為什麼|怎么|"
        r"对.{1,12}(?:看法|态度))",
        r"(?:上文|前文|上面|文中|本文)(?:所)?(?:提到|提及|描述|说到|述及|给出|列出|讨论)",
    ),
}

# letters written in two ways, and marks that are left out at will
_SAME = str.maketrans(
    {"أ": "ا", "إ": "ا", "آ": "ا", "ş": "ș", "ţ": "ț", "’": "'", "ʼ": "'", "ـ": None}
    | dict.fromkeys(map(chr, range(0x064B, 0x0653)))
)


def points_at_text(question: str, language: str | None = None) -> bool:
    """Whether a question refers to a text that its asker has not seen.

    Args:
        question: As written.
        language: ISO 639-1 code; None, or a language without patterns: those of all languages.
    """
    languages = [language] if language in _PATTERNS else list(_PATTERNS)
    folded = _folded(" ".join(question.split()))
    return any(_pattern_of(name).search(folded) for name in languages)


@cache
def _pattern_of(language: str) -> re.Pattern[str]:
    return re.compile(_folded("|".join(_PATTERNS[language])), re.IGNORECASE)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).translate(_SAME)
